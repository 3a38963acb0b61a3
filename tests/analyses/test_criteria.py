"""Criteria from a file: what is overridden, what is refused, and what stands in a report."""

import json
from dataclasses import asdict, fields

import pytest

from analyses.criteria import INSIDE, RANGES, SOURCES, VERSION, Criteria
from interp.errors import InputError

pytest_plugins = ("tests.command_line",)


def written(tmp_path, content):
    path = tmp_path / "criteria.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_a_file_overrides_what_it_names_and_nothing_else(tmp_path):
    found = Criteria.from_file(written(tmp_path, {"pattern_mass": 0.5, "expect_confidence": "strong"}))
    assert found == Criteria(pattern_mass=0.5, expect_confidence="strong")
    assert found.overridden == {
        "pattern_mass": {"value": 0.5, "default": 0.4},
        "expect_confidence": {"value": "strong", "default": "moderate"},
    }
    assert found.to_dict()["overridden"] == found.overridden
    assert Criteria().overridden == {}


def test_every_criterion_has_a_source_and_a_default_within_its_range():
    assert set(SOURCES) == {field.name for field in fields(Criteria)}
    for name, value in asdict(Criteria()).items():
        if name != "expect_confidence":
            low, high = RANGES.get(name, (0.0, 1.0))
            assert low < value < high
    assert set(INSIDE) <= set(SOURCES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"patern_mass": 0.5}, "there is no criterion 'patern_mass'; did you mean pattern_mass"),
        ({"xyz": 1}, "there is no criterion 'xyz'; there are pattern_mass, null_margin"),
        ({"pattern_mass": "high"}, "pattern_mass must be a number from 0 to 1, got 'high'"),
        ({"pattern_mass": True}, "pattern_mass must be a number from 0 to 1, got True"),
        ({"pattern_mass": 1.5}, "pattern_mass must be a number from 0 to 1, got 1.5"),
        ({"push_margin": -1}, "push_margin must be a number from 0 to 100, got -1"),
        ({"interval_level": 1}, "interval_level must be a number between 0 and 1, got 1"),
        ('{"feed_drop": NaN}', "feed_drop must be a number from 0 to 1, got nan"),
        ({"expect_confidence": "certain"}, "expect_confidence must be one of weak, moderate, strong, got 'certain'"),
        ({"version": 1}, f"has criteria of version 1, this is version {VERSION}"),
        ([0.5], "must hold an object such as"),
        ("{", "is not the JSON of criteria"),
    ],
)
def test_what_cannot_be_criteria_is_refused_in_one_line(tmp_path, content, message):
    with pytest.raises(InputError) as error:
        Criteria.from_file(written(tmp_path, content))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"cannot be read from .*none\.json: No such file"):
        Criteria.from_file(tmp_path / "none.json")


def test_the_command_prints_criteria_that_it_reads_back(interp, induction, tmp_path):
    usual = interp("audit", induction, "--print-criteria")
    assert usual.code == 0
    assert usual.json == {"version": VERSION, **asdict(Criteria())}
    path = written(tmp_path, {**usual.json, "feed_drop": 0.25})
    assert interp("audit", induction, "--print-criteria", "--criteria", path).json["feed_drop"] == 0.25
    assert Criteria.from_file(path).overridden == {"feed_drop": {"value": 0.25, "default": 0.3}}


def test_bad_criteria_are_refused_before_the_model_is_read(interp, tmp_path):
    called = interp("audit", tmp_path / "no-model", "--criteria", written(tmp_path, {"loss_shar": 1}))
    assert called.code == 2
    assert "did you mean loss_share" in called.err
