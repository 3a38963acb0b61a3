"""Trainings are done once, kept, and none stops another."""

import json
import math

import pytest

from analyses.claims import batch, cache
from analyses.claims.arms import Task, arm_digest
from analyses.claims.batch import run_claims, train_one
from analyses.claims.cache import Trained, checked_row, row_from_json, row_to_json
from analyses.claims.claim import Arm, Comparison
from analyses.claims.running import run_claim
from interp.errors import InputError
from tests.analyses.claims.fakes import BROKEN, claim, interrupted, steady


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


def run(claims, seeds=(0, 1, 2), folder=None, **options):
    return run_claims(claims, seeds, folder=folder, progress=False, **options)


def test_a_batch_gives_what_each_claim_gives_alone(tmp_path):
    outcome = run([claim()], folder=tmp_path)
    alone = run_claim(claim())
    assert outcome.failures == ()
    assert outcome.results[0].rows == alone.rows
    assert outcome.results[0].verdict == alone.verdict
    assert outcome.results[0].verdict.word == "holds"


def test_what_two_claims_share_is_trained_once_and_not_again_later(tmp_path, log):
    claims = [claim("one", str(log)), claim("two", str(log))]
    run(claims, folder=tmp_path)
    assert sorted(log.read_text().split("\n")[:-1]) == sorted(f"{s} {n}" for s in (0, 1) for n in range(3))
    run(claims, folder=tmp_path)
    assert len(log.read_text().splitlines()) == 6
    run(claims, seeds=(1, 2, 3), folder=tmp_path)
    assert log.read_text().splitlines()[6:] == ["1 3", "0 3"]


def test_a_training_that_raises_is_named_and_the_others_are_done(tmp_path):
    outcome = run([BROKEN, claim()], folder=tmp_path)
    assert [result.claim.name for result in outcome.results] == ["more-is-more"]
    assert [failure.what for failure in outcome.failures] == [
        "claim broken-by-chance: arm bad, seed 1: ValueError: no luck with this seed"
    ]
    assert "fakes.py" in outcome.failures[0].trace


def test_an_arm_that_gives_no_such_number_fails_its_claim_alone(tmp_path):
    lost = claim("lost", comparisons=(Comparison("here", "loss", "loss", "shifted", "plain", "greater", 0.5),))
    outcome = run([lost, claim()], folder=tmp_path)
    assert [failure.what for failure in outcome.failures] == [
        "claim lost: arm shifted gave no number 'loss', only score, steps, curve"
    ]
    assert len(outcome.results) == 1


def test_after_ctrl_c_a_rerun_goes_on_with_what_is_left(tmp_path, log):
    arms = {"cut": Arm(interrupted, {"log": str(log)})}
    comparisons = (Comparison("here", "score", "score", "cut", "cut", "equivalent", 0.5),)
    broken_off = claim("broken-off", arms=arms, comparisons=comparisons, picture=None)
    with pytest.raises(KeyboardInterrupt, match=r"is kept in .*; run it again to go on"):
        run([broken_off], folder=tmp_path / "cache")
    assert len(list((tmp_path / "cache").glob("*.json"))) == 2
    outcome = run([broken_off], folder=tmp_path / "cache")
    assert [row["score"] for row in outcome.results[0].rows["cut"]] == [0.0, 1.0, 2.0]


def test_the_longest_trainings_come_first_and_unknown_ones_before_them(tmp_path, log):
    arms = {str(shift): Arm(steady, {"shift": float(shift), "log": str(log)}) for shift in (1, 2, 3)}
    comparisons = (Comparison("here", "score", "score", "1", "2", "equivalent", 0.5),)
    known = {arm_digest(arms["1"]): 1.0, arm_digest(arms["3"]): 7.0}
    run([claim("sorted", arms=arms, comparisons=comparisons)], seeds=(0,), folder=tmp_path, known=known)
    assert log.read_text().splitlines() == ["2 0", "3 0", "1 0"]


def test_the_cost_of_another_seed_is_looked_up_and_scaled(tmp_path):
    arm = Arm(steady)
    cache.save(Task(arm, 5, 2.0, "cpu", ""), Trained({"score": 1.0}, 8.0), tmp_path)
    assert cache.earlier_seconds(arm, 0.5, tmp_path) == 2.0
    assert cache.earlier_seconds(Arm(steady, {"shift": 3.0}), 0.5, tmp_path) is None
    assert batch.expected_seconds(Arm(steady, {"shift": 3.0}), 0.5, tmp_path, {}) == math.inf


def test_a_damaged_file_is_trained_anew(tmp_path):
    task = Task(Arm(steady), 0, 1.0, "cpu", "")
    done = train_one(task, tmp_path)
    assert cache.load(task, tmp_path) == done
    path = cache.path_of(task, tmp_path)
    for text in ("", "{", "[]", '{"row": {"score": "many"}, "seconds": 1}'):
        path.write_text(text)
        assert cache.load(task, tmp_path) is None
    assert run([claim()], folder=tmp_path).results[0].verdict.word == "holds"


def test_a_source_that_changes_under_a_batch_is_noticed_and_nothing_is_kept(tmp_path, monkeypatch):
    task = Task(Arm(steady), 0, 1.0, "cpu", "claim x: arm y")
    assert task.key
    monkeypatch.setattr("analyses.claims.arms.sources_digest", lambda *modules: "edited")
    failure = train_one(task, tmp_path)
    assert failure.what == (
        "claim x: arm y, seed 0: InputError: its source was changed after the batch began; run it again"
    )
    assert list(tmp_path.iterdir()) == []


def test_two_processes_give_the_same_as_one(tmp_path):
    one = run([claim(), BROKEN], folder=tmp_path / "one")
    two = run([claim(), BROKEN], folder=tmp_path / "two", jobs=2)
    assert two.results[0].rows == one.results[0].rows
    assert [failure.what for failure in two.failures] == [failure.what for failure in one.failures]


def test_numbers_that_are_not_finite_survive_strict_json():
    row = {"a": math.inf, "b": [1.5, -math.inf], "c": math.nan}
    text = json.dumps(row_to_json(row), allow_nan=False)
    found = row_from_json(json.loads(text))
    assert (found["a"], found["b"]) == (math.inf, [1.5, -math.inf])
    assert math.isnan(found["c"])


@pytest.mark.parametrize("row", [None, {}, {"a": "x"}, {"a": [1.0, None]}, {"a": (1.0,)}, {1: 2.0}])
def test_an_arm_that_gives_something_else_than_numbers_is_refused(row):
    with pytest.raises(InputError, match="an arm must give"):
        checked_row(row)


@pytest.mark.parametrize(("seeds", "budget"), [((), 1.0), ((1, 1), 1.0), ((0,), 0.0)])
def test_a_request_without_seeds_or_budget_is_refused_before_work(tmp_path, log, seeds, budget):
    with pytest.raises(InputError):
        run([claim(log=str(log))], seeds=seeds, folder=tmp_path, budget=budget)
    assert not log.exists()
