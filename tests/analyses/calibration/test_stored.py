"""The results that come with the package are those of a whole run under today's criteria, and the README shows them."""

from dataclasses import asdict
from pathlib import Path

import pytest

from analyses.calibration import stored
from analyses.calibration.__main__ import MODELS, README, WITHOUT
from analyses.calibration.choosing import candidates
from analyses.calibration.readme import HEADING, block
from analyses.calibration.stored import load_results
from analyses.calibration.summary import JUDGED
from analyses.criteria import Criteria
from analyses.evidence import CONFIDENCE
from toy_models.errors import InputError

whole = pytest.mark.skipif(
    stored.RESULTS.is_file() and (load_results()["models"], load_results()["without"]) != (MODELS, WITHOUT),
    reason="the stored results are those of a shorter run: python -m analyses.calibration makes the whole",
)


def test_the_stored_run_is_one_under_the_criteria_that_ship():
    results = load_results()
    assert results["seed"] == 0
    assert results["criteria"] == asdict(Criteria())
    assert set(results["roles"]) == set(JUDGED)
    assert set(results["reliability"]) == set(CONFIDENCE)


@whole
def test_every_set_of_thresholds_was_tried():
    assert len(load_results()["search"]["tried"]) == len(candidates())


@whole
def test_there_are_five_hundred_heads_of_sixty_models_of_either_sort():
    for found in load_results()["drawn"]["all"].values():
        assert found["heads"] >= 500
        assert found["models"] >= 60


def test_no_head_of_a_model_without_induction_was_called_one_and_no_mechanism_was_swapped():
    bars = {each["bar"]: each for each in load_results()["bars"]}
    assert bars["no head of a model without induction is called an induction head, not even contested"]["met"]
    assert bars["K- and Q-composition swapped"]["met"]


def test_each_missed_bar_of_circuits_has_its_cases_listed():
    results = load_results()
    for each in results["bars"]:
        lost = each["found"]["cases"] - each["found"]["right"] if each["at_most"] == 1 else each["found"]["right"]
        assert lost <= len(results["wrong"]), each["bar"]


def test_the_readme_shows_the_stored_results():
    text = README.read_text(encoding="utf-8")
    assert block(load_results()) in text
    assert text.index(HEADING) < text.index(block(load_results()))


def test_missing_results_are_made_by_the_command_that_is_named(monkeypatch):
    monkeypatch.setattr(stored, "RESULTS", Path("nowhere.json"))
    with pytest.raises(InputError, match=r"make it with: python -m analyses\.calibration"):
        load_results()
