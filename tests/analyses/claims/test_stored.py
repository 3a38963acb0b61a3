"""A result's file holds what was judged, and says when it is of another day."""

import itertools
import json
import math
from dataclasses import replace

import pytest

from analyses.claims import stored
from analyses.claims.arms import arm_digest
from analyses.claims.drawn import drawn, thinned
from analyses.claims.running import run_claim
from analyses.claims.stored import Stored, document_of, load, save, seconds_known
from interp.errors import InputError
from tests.analyses.claims.fakes import IDENTITY, claim


def document(of=None, seeds=(0, 1, 2), **options):
    return document_of(run_claim(of or claim(), seeds), {"shifted": 6.0, "plain": 3.0}, **options)


def test_parts_and_verdict_come_back_as_they_were(tmp_path):
    result = run_claim(claim())
    path = save(document(), tmp_path)
    found = load(tmp_path)["more-is-more"]
    assert path.name == "more-is-more.json"
    assert found.parts == result.parts
    assert found.verdict == found.judged() == result.verdict
    assert found["parts"][0]["interval"]["low"] == pytest.approx(result.parts[0].estimate.low)
    assert (found["parts"][0]["treated_arm"], found["parts"][0]["control_arm"]) == ("shifted", "plain")


def test_an_infinite_error_of_the_wrong_way_is_kept_in_strict_json(tmp_path):
    path = save(document_of(run_claim(IDENTITY, (0,)), {"only": 0.1}), tmp_path)
    json.loads(path.read_text(), parse_constant=pytest.fail)
    found = load(tmp_path)["nothing-is-nothing"]
    assert found.parts[0].control == (math.inf,)
    assert found.judged().word == "holds"


def test_a_result_of_today_is_not_stale():
    assert Stored(document()).stale(claim()) == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"statement": "Less is more."},
        {"why": "Another."},
        {"comparisons": (replace(claim().comparisons[0], margin=0.4),)},
        {"arms": {name: replace(arm, config={"shift": 2.0}) for name, arm in claim().arms.items()}},
        {"picture": None},
    ],
)
def test_any_change_of_the_declaration_makes_it_stale(changes):
    assert Stored(document()).stale(claim(**changes)) == "declaration changed"


def test_changed_sources_and_another_torch_make_it_stale(monkeypatch):
    found = Stored(document())
    monkeypatch.setattr(stored, "torch_release", lambda: "9.9")
    assert found.stale(claim()).startswith("made with torch ")
    monkeypatch.setattr(stored, "sources_digest", lambda *modules: "edited")
    assert found.stale(claim()) == "source changed"


def test_a_placebo_stays_with_the_same_experiment_and_goes_with_another(tmp_path):
    save({**document(), "placebo": {"draws": 20}}, tmp_path)
    save(document(), tmp_path)
    assert load(tmp_path)["more-is-more"]["placebo"] == {"draws": 20}
    save(document(claim(why="Another control.")), tmp_path)
    assert load(tmp_path)["more-is-more"]["placebo"] is None


def test_a_placebo_does_not_stay_when_seeds_or_budget_are_others(tmp_path):
    save({**document(), "placebo": {"draws": 20}}, tmp_path)
    save(document(seeds=(0, 1)), tmp_path)
    assert load(tmp_path)["more-is-more"]["placebo"] is None


def test_the_cost_of_one_seed_at_budget_one_is_known_from_a_result():
    arms = claim().arms
    found = Stored({**document(), "budget": 0.5})
    assert seconds_known([found], [claim()]) == {arm_digest(arms["shifted"]): 4.0, arm_digest(arms["plain"]): 2.0}
    assert seconds_known([found], []) == {}


def test_a_file_that_is_no_result_is_refused_by_name(tmp_path):
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(InputError, match=r"other\.json is not a claim's result"):
        load(tmp_path)
    (tmp_path / "other.json").write_text("{")
    with pytest.raises(InputError, match=r"other\.json is no JSON"):
        load(tmp_path)


def test_a_picture_keeps_curves_by_arm_and_seed_with_five_digits():
    found = drawn(claim(), run_claim(claim(), (0, 1)).rows)
    assert list(found["arms"]) == ["shifted", "plain"]
    score = run_claim(claim(), (0,)).rows["shifted"][0]["score"]
    assert found["arms"]["shifted"][0] == {
        "x": [1.0, 2.0, 4.0],
        "y": [0.0, float(f"{score / 2:.5g}"), float(f"{score:.5g}")],
    }


def test_a_picture_of_what_an_arm_does_not_give_is_refused_by_name():
    lost = claim(picture=replace(claim().picture, x="epochs"))
    with pytest.raises(InputError, match="claim more-is-more: arm shifted gave no 'epochs' to draw"):
        drawn(lost, run_claim(lost, (0,)).rows)


def test_long_curves_are_thinned_to_sixty_points_with_both_ends():
    assert thinned(60, False) == list(range(60))
    even = thinned(1000, False)
    assert (len(even), even[0], even[-1]) == (60, 0, 999)
    assert {b - a for a, b in itertools.pairwise(even)} == {16, 17}
    log = thinned(1000, True)
    assert (log[:4], log[-1]) == ([0, 1, 2, 3], 999)
    assert len(log) < 60
    assert log[-1] - log[-2] > 80
