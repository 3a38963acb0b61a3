"""A short calibration: what the audit says of drawn models, and what is written about it."""

import json
from dataclasses import asdict, replace

import pytest

from analyses import exits
from analyses.calibration import __main__ as command
from analyses.calibration.cases import audit_whole, cases_of, rejudged
from analyses.calibration.choosing import Search, candidates, errors
from analyses.calibration.draws import Draw, draw_models
from analyses.calibration.models import build
from analyses.calibration.pool import audit_all
from analyses.calibration.readme import BEGIN, END, block, write_block
from analyses.calibration.summary import summarise
from analyses.calibration.tables import terminal
from analyses.calibration.words import role_rows
from analyses.criteria import Criteria
from tests.analyses.calibration.synthetic import case
from toy_models.errors import InputError

SLOW = ("induction_both", "three_layer_chain")
"""Kinds that are audited, in several copies, by the tests of invariance."""


@pytest.fixture(scope="module")
def cases():
    """Heads of one model of each other kind, with no noise or with less than it takes to lose accuracy."""
    first = {}
    for draw in draw_models(23 * 4, 19 * 4, seed=5):
        if draw.level < 1 and draw.name not in SLOW:
            first.setdefault(draw.name, replace(draw, layers=1 + (draw.name == "untrained")))
    found = audit_all([(draw, (Criteria(),)) for draw in first.values()], jobs=1, progress=False)
    return [case for model in found for case in model[0]]


@pytest.fixture(scope="module")
def results(cases):
    """results.json of these cases."""
    settings = {"command": "python -m analyses.calibration", "seed": 5, "models": 14, "without": 12}
    return summarise(settings, cases, [], Search(((Criteria(), errors(cases)),)))


def test_no_head_of_a_model_without_induction_is_called_one(cases):
    without = [case for case in cases if case.group == "no induction"]
    assert len({case.name for case in without}) == 9
    assert [case for case in without if "induction" in case.given] == []


def test_every_induction_head_is_found_and_the_way_it_is_fed_is_named(cases):
    made_so = [case for case in cases if case.truth.mechanism is not None]
    assert {case.truth.mechanism for case in made_so} == {"K-composition", "Q-composition", "smeared keys"}
    assert [case for case in made_so if not case.called("induction")] == []
    assert [(case.name, case.mechanism) for case in made_so if case.mechanism != case.truth.mechanism] == []


def test_a_head_that_surely_matches_prefixes_is_called_so_while_it_is_undecided_whether_it_lowers_the_next_token():
    draw = Draw(0, "no induction", "reporting", "literal_current", (), level=0.9, layers=1, seed=109)
    head = cases_of(draw, (Criteria(),))[0][1]
    assert (head.head, head.truth.told("prefix-matching"), head.easy) == ("L1H0", True, True)
    assert head.called("prefix-matching")
    assert "induction" not in head.given


def test_verdicts_under_other_criteria_are_those_of_an_audit_with_them():
    model = build(draw_models(5, 0, seed=0)[4]).made.model
    stricter = replace(Criteria(), null_margin=0.9, loss_share=0.9, push_margin=6.0)
    measured = audit_whole(model, 0, Criteria())
    again, fresh = rejudged(measured, stricter), audit_whole(model, 0, stricter).verdicts
    assert again == fresh
    assert again != measured.verdicts
    assert rejudged(measured, Criteria()) is measured.verdicts


def test_the_summary_holds_every_case_once(cases, results):
    json.dumps(results, allow_nan=False)
    assert results["criteria"] == asdict(Criteria())
    drawn = results["drawn"]["all"]
    idle = sum(case.made_as == "idle" for case in cases)
    assert drawn["positive"]["heads"] + drawn["negative"]["heads"] + idle == len(cases)
    induction = results["roles"]["induction"]["all"]
    told = [case.truth.told("induction") for case in cases]
    assert induction["recall"]["cases"] == told.count(True)
    assert induction["false_positives"]["cases"] == told.count(False)
    assert sum(share["cases"] for share in results["reliability"].values()) == sum(
        case.truth.told(role) is not None for case in cases for role in case.given
    )


def test_the_terminal_and_the_readme_show_the_same_numbers(results):
    shown, written = terminal(results), block(results)
    for row in role_rows(results):
        assert all(cell in shown and cell in written for cell in row)
    assert max(map(len, shown.splitlines())) <= 120
    assert written.startswith(BEGIN)
    assert written.endswith(END)


def test_the_block_takes_the_place_of_the_old_one_and_needs_one(results, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_block(readme, results)
    assert readme.read_text() == f"before\n{block(results)}\nafter\n"
    readme.write_text("no place\n")
    with pytest.raises(InputError, match="needs one place for the block"):
        write_block(readme, results)


@pytest.fixture
def audited(monkeypatch):
    """Audits that take no time: every head of a circuit is found, nothing else is."""

    def audit_all(tasks, jobs, progress=True):
        found = []
        for draw, criteria in tasks:
            roles = {"induction"} if draw.group == "circuit" else set()
            made = case(roles, roles, model=draw.index, group=draw.group, half=draw.half, mechanism="K-composition")
            found.append([[made]] * len(criteria))
        return found

    monkeypatch.setattr(command, "audit_all", audit_all)


def test_the_command_writes_results_and_cases_and_says_how_to_do_it_again(audited, tmp_path, capsys):
    code = command.main(["--models", "40", "--without", "30", "--seed", "2", "--out", str(tmp_path)])
    assert code == exits.OK
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["command"] == "python -m analyses.calibration --models 40 --without 30 --seed 2"
    assert all(bar["met"] for bar in written["bars"][:5])
    assert len(json.loads((tmp_path / "cases.json").read_text())) == 70
    assert len(written["search"]["tried"]) == len(candidates())
    assert f"wrote {tmp_path / 'results.json'}" in capsys.readouterr().out


def test_ctrl_c_writes_nothing(monkeypatch, tmp_path, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "audit_all", interrupted)
    assert command.main(["--out", str(tmp_path / "out")]) == exits.INTERRUPTED
    assert not (tmp_path / "out").exists()
    assert capsys.readouterr().err == "interrupted: nothing was written\n"


def test_an_error_in_an_audit_names_the_model(monkeypatch):
    from analyses.calibration import cases as module

    def broken(*_, **__):
        raise ValueError("broken")

    monkeypatch.setattr(module, "audit", broken)
    draw = draw_models(1, 0, seed=0)[0]
    with pytest.raises(ValueError, match="broken") as caught:
        audit_all([(draw, (Criteria(),))], jobs=1, progress=False)
    assert caught.value.__notes__ == [f"in {draw}"]
