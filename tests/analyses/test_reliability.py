"""Confidence words with how often they were right, where that was measured."""

import json

from analyses import reliability
from analyses.audit import Criteria, audit
from analyses.evidence import CONFIDENCE
from analyses.reliability import Reliability, against_brute_force, meaning, measured_reliability
from toy_models.handmade import make

FOUND = {"right": 511, "cases": 512, "models": 60, "low": 0.989, "high": 1.0, "method": "bootstrap"}
NONE = {"right": 0, "cases": 0, "models": 0, "low": 0.0, "high": 1.0, "method": "none"}


def stored(tmp_path, content):
    path = tmp_path / "results.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_a_word_says_how_often_it_was_right_with_the_interval(tmp_path):
    path = stored(tmp_path, {"reliability": {"strong": FOUND, "weak": NONE}})
    assert measured_reliability(path) == {
        "strong": Reliability(511, 512, 0.989, 1.0),
        "weak": Reliability(0, 0, 0.0, 1.0),
    }
    assert meaning("strong", path=path) == (
        f"{CONFIDENCE['strong']}; on models whose circuit is known, 511 of 512 such verdicts were right (95 % interval "
        "0.989 to 1.000)"
    )
    assert meaning("weak", path=path).endswith("; no such verdict came up on models whose circuit is known")
    assert meaning("moderate", path=path) == CONFIDENCE["moderate"]
    assert reliability.to_dict(path=path)["strong"] == {
        "right": 511,
        "cases": 512,
        "low": 0.989,
        "high": 1.0,
        "level": 0.95,
    }


def test_without_results_words_stand_alone(tmp_path):
    for path in (tmp_path / "none.json", stored(tmp_path, "{"), stored(tmp_path, {"other": 1})):
        measured_reliability.cache_clear()
        assert measured_reliability(path) == {}
        assert meaning("strong", path=path) == CONFIDENCE["strong"]
        assert reliability.to_dict(path=path) is None


def test_with_criteria_of_ones_own_no_measured_frequency_is_claimed():
    assert meaning("strong", own_criteria=True).endswith(
        "; how often that is right was not measured with these criteria"
    )
    assert reliability.to_dict(own_criteria=True) is None
    own = audit(make("induction_k").model, bos=0, criteria=Criteria(pattern_mass=0.41), context=False)
    assert own.to_dict()["reliability"] is None


def test_what_brute_force_found_on_trained_models_is_said_with_its_interval(tmp_path):
    path = tmp_path / "trained.json"
    path.write_text('{"totals": {"with_gain": {"count": 31, "of": 46, "low": 0.52, "high": 0.8049}}}')
    said = against_brute_force(path)
    assert "met every bar of brute force in 31 of 46 (95 % interval 0.52 to 0.80;" in said
    assert against_brute_force(tmp_path / "none.json") == ""
