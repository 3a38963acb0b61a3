"""The trained half as a whole: its cases, models kept on disk, counts, tables, and a short run of it."""

import json
from dataclasses import replace

import pytest

from analyses.calibration.trained import __main__ as command
from analyses.calibration.trained import cache
from analyses.calibration.trained.cache import folder_of, trained
from analyses.calibration.trained.cases import Case, all_cases
from analyses.calibration.trained.run import calibrate_trained
from analyses.calibration.trained.tables import block, share_text, terminal, write_block
from analyses.calibration.trained.totals import totals
from interp.stats import clopper_pearson
from toy_models.config import to_dict
from toy_models.errors import InputError


def case_of(name: str, **train) -> Case:
    case = next(case for case in all_cases() if case.name.startswith(name))
    return replace(case, run=replace(case.run, train=replace(case.run.train, **train)))


def row(name, has_gain=True, doubts=(), **bars):
    found = {"named": True, "removed": True} | bars
    return {
        "name": name,
        "seed": int(name),
        "positions": "rotary",
        "d_model": 32 if has_gain else 16,
        "n_layers": 2,
        "n_heads": 4,
        "has_gain": has_gain,
        "gain": {"mean": 0.5},
        "doubts": list(doubts),
        "induction": ["L1H0"],
        "feeders": ["L0H0", "L0H1"],
        "support": ["L0H2"],
        "removed": {"mean": 1.5},
        "preserved": {"mean": 0.9, "low": 0.85, "high": 0.95},
        "others": {"rank": 2, "tried": 55} if has_gain else None,
        "bars": found,
        "agrees": all(found.values()),
    }


def test_there_are_at_least_forty_models_that_learn_from_different_seeds_and_some_that_do_not():
    cases = all_cases()
    learning = [case for case in cases if case.kind == "trained"]
    assert len(learning) >= 40
    assert len(cases) - len(learning) >= 10
    assert len({case.seed for case in cases}) == len({case.digest for case in cases}) == len(cases)
    assert {case.run.model.positions for case in learning} == {"standard", "shortformer", "rotary"}
    assert {case.run.model.d_model for case in learning} == {16, 24, 32, 48, 64}
    assert min(case.run.model.n_heads for case in learning) == 2
    assert {case.run.model.n_layers for case in learning} == {1, 2, 3}
    assert all(case.run.model.smeared_keys for case in learning if case.run.model.n_layers == 1)


def test_the_digest_changes_with_whatever_decides_the_weights():
    case = case_of("rotary 2x4 d32")
    others = [replace(case.run.train, seed=1), replace(case.run.train, steps=7)]
    digests = {replace(case, run=replace(case.run, train=train)).digest for train in others}
    assert len(digests | {case.digest}) == 3
    assert replace(case, name="another name").digest == case.digest


def test_a_model_that_is_on_disk_is_not_trained_again(tmp_path, monkeypatch):
    case = case_of("standard 2x4 d16", steps=2)
    first = trained(case, tmp_path)
    assert first.config == case.run.model
    assert (first.metadata["step"], first.metadata["seed"]) == (2, case.seed)
    assert first.metadata["train"] == to_dict(case.run.train)

    def refuse(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(cache, "train_in_memory", refuse)
    assert trained(case, tmp_path).model_hash == first.model_hash
    with pytest.raises(AssertionError, match="trained again"):
        trained(case_of("standard 2x4 d16", steps=3), tmp_path)


def test_counts_are_over_models_with_and_without_a_gain_and_name_what_nobody_doubted():
    rows = [
        row("1"),
        row("2", removed=False),
        row("3", removed=False, doubts=["L1H0: induction weak"]),
        row("4", doubts=["L1H1: induction undecided"]),
        row("5", has_gain=False),
        row("6", has_gain=False, named=False),
    ]
    found = totals(rows)
    exact = clopper_pearson(2, 4)
    assert found["with_gain"] == {"count": 2, "of": 4, "low": exact.low, "high": exact.high}
    assert (found["without_gain"]["count"], found["without_gain"]["of"]) == (1, 2)
    assert (found["missed"], found["unsaid"]) == (["2", "3", "6"], ["2", "6"])
    assert (found["bars"]["removed"]["count"], found["bars"]["named"]["count"]) == (2, 4)
    assert (found["doubted_where_met"]["count"], found["doubted_where_met"]["of"]) == (1, 3)
    assert list(found["groups"]["width"]) == ["d_model 32"]
    assert (found["best_of_its_size"]["count"], found["best_of_its_size"]["of"]) == (0, 4)
    assert totals([])["with_gain"] == {"count": 0, "of": 0, "low": None, "high": None}


def test_tables_say_what_was_missed_and_whether_the_audit_had_a_doubt():
    rows = [row("1"), row("2", removed=False), row("3", removed=False, doubts=["L1H0: induction weak"])]
    results = {"command": "python -m x", "rows": rows, "totals": totals(rows)}
    lines = terminal(results).splitlines()
    assert "0.50  2 -> 1 + 1 of 8" in lines[2]
    assert lines[2].endswith("1.50  0.90 [0.85, 0.95]  2 of 56")
    assert lines[3].endswith("removed (not said)")
    assert lines[4].endswith("removed (said)")
    assert share_text(totals(rows)["with_gain"]) == "1 of 3 (33 %, 1 to 91)"
    words = " ".join(block(results).split())
    assert "Missed without a doubt: 2." in words
    assert "in 1 of these 2 the audit itself had a doubt, in 1 it had none" in words


def test_the_block_replaces_itself_and_nothing_else(tmp_path):
    rows = [row("1")]
    results = {"command": "python -m x", "rows": rows, "totals": totals(rows)}
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{block(results)}\nafter\n", encoding="utf-8")
    write_block(readme, results | {"command": "python -m y"})
    assert readme.read_text(encoding="utf-8") == f"before\n{block(results | {'command': 'python -m y'})}\nafter\n"
    readme.write_text("no place", encoding="utf-8")
    with pytest.raises(InputError, match="needs one place for the block"):
        write_block(readme, results)


def test_the_readme_and_the_counts_are_those_of_the_stored_results():
    results = json.loads(command.RESULTS.read_text(encoding="utf-8"))
    assert block(results) in command.README.read_text(encoding="utf-8")
    assert results["totals"] == totals(results["rows"])
    assert [each["digest"] for each in results["rows"]] == [case.digest for case in all_cases()]


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--jobs", "0"], "--jobs must be at least 1"), (["--only", "rotary"], "say with --out where their results go")],
)
def test_options_that_cannot_be_meant_are_refused(words, said, capsys):
    with pytest.raises(SystemExit):
        command.main(words)
    assert said in capsys.readouterr().err


def test_a_name_that_no_model_has_is_refused_before_anything_is_trained(tmp_path, capsys):
    assert command.main(["--only", "sinusoidal", "--out", str(tmp_path)]) == 2
    assert "no model's name holds 'sinusoidal'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_short_run_names_the_circuit_of_the_model_that_learnt_and_none_of_the_one_that_did_not(tmp_path):
    learnt = case_of("standard smeared 1x4 d16", steps=400, stop_margin=0.5)
    not_learnt = case_of("standard 2x4 d32", steps=3)
    results = calibrate_trained([learnt, not_learnt], tmp_path, progress=False)
    first, second = results["rows"]
    assert first["has_gain"]
    assert first["induction"]
    assert first["feeders"] == []
    assert set(first["mechanisms"].values()) == {"smeared keys"}
    assert first["preserved"]["mean"] >= 0.8
    assert (second["has_gain"], second["induction"], second["agrees"]) == (False, [], True)
    assert results["totals"]["models"] == 2
    assert json.loads(json.dumps(results, allow_nan=False)) == results
    assert {folder.name for folder in tmp_path.iterdir()} == {folder_of(c, tmp_path).name for c in (learnt, not_learnt)}
