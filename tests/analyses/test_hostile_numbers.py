"""Numbers that are not finite: no rule takes them for a yes or a no, no file holds them, no head gets a role."""

import dataclasses
import itertools
import json
import math

import pytest
import torch

from analyses.audit import audit
from analyses.audit.rules import above, agreed, below, every, some
from analyses.evidence import Evidence, Measurement
from analyses.output import strict_json
from interp.errors import NotFinite
from interp.stats import Estimate
from tests.overflowing import overflowing
from toy_models.checkpoint import save_checkpoint

pytest_plugins = ("tests.command_line",)

NAN, INF = math.nan, math.inf
FINITE = Estimate(1.0, 0.5, 1.5, 32, 0.95, "test")


@pytest.mark.parametrize("rule", [above, below])
@pytest.mark.parametrize("threshold", [-2.0, 0.0, 1.0, 3.0, NAN])
@pytest.mark.parametrize("field", ["mean", "low", "high"])
@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_an_interval_that_is_not_finite_is_on_neither_side_of_any_threshold(rule, threshold, field, bad):
    assert rule(dataclasses.replace(FINITE, **{field: bad}), threshold) is None


def test_finite_intervals_are_judged_as_before():
    assert (above(FINITE, 0.4), above(FINITE, 1.0), above(FINITE, 2.0)) == (True, None, False)
    assert (below(FINITE, 0.4), below(FINITE, 1.0), below(FINITE, 2.0)) == (False, None, True)
    assert (above(FINITE, NAN), below(FINITE, NAN)) == (None, None)


def test_what_cannot_be_told_never_becomes_a_yes_by_combining_it():
    for holds in itertools.product([True, False, None], repeat=2):
        known = [each for each in holds if each is not None]
        assert every(holds) is (False if False in known else None if None in holds else True)
        assert some(holds) is (True if True in known else None if None in holds else False)
    assert agreed([None, True]) is None
    assert agreed([None, None]) is None


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("holds", [True, False])
@pytest.mark.parametrize("field", ["value", "low", "high"])
def test_a_measurement_that_is_not_finite_decides_nothing_whatever_its_rule_said(bad, holds, field):
    values = {"value": 1.0, "low": 0.5, "high": 1.5, field: bad}
    measured = Measurement("a number", rule="at least 0", holds=holds, **values)
    assert measured.holds is None
    assert Evidence("weights", (measured,)).status == "undecided"


def test_strict_json_writes_null_for_what_is_not_finite_wherever_it_stands():
    values = {
        "number": NAN,
        "list": [INF, -INF, 1.0],
        "tensor": torch.tensor([[NAN, 2.0]]),
        "estimate": dataclasses.replace(FINITE, low=NAN),
        "complex": complex(INF, 1),
        "key": {NAN: 1},
    }

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    found = json.loads(strict_json(values), parse_constant=refuse)
    assert found["number"] is None
    assert found["list"] == [None, None, 1.0]
    assert found["tensor"] == [[None, 2.0]]
    assert found["estimate"]["low"] is None
    assert found["complex"] == [None, 1.0]


@pytest.mark.parametrize("point", ["pattern", "logits"])
def test_an_audit_of_a_model_that_overflows_gives_no_verdict_and_names_the_numbers(point):
    with pytest.raises(NotFinite, match="are NaN or infinite, so nothing can be measured here"):
        audit(overflowing(point), bos=0)


@pytest.mark.parametrize("command", ["audit", "heads", "lens", "paths", "search"])
def test_commands_on_a_model_that_overflows_say_so_in_one_line(interp, command, tmp_path):
    save_checkpoint(tmp_path / "model", overflowing("logits"))
    done = interp(command, tmp_path / "model")
    assert done.code == 2
    assert done.out == ""
    assert done.err.startswith("interp: not finite: ")
    assert done.err.count("\n") == 1
