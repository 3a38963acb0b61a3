"""The audit's table and JSON keep what a reader needs: intervals of losses that fall, and every number of the push."""

import re

import pytest

from analyses import cli
from analyses.audit import audit
from analyses.audit.behaviour import at_every
from toy_models.handmade import make

pytest_plugins = ("tests.command_line",)
SIZE = {"d_vocab": 32, "n_ctx": 48}


def test_a_loss_that_falls_without_a_head_keeps_its_interval(interp, tmp_path):
    interp("handmade", "no_copy", "--out", tmp_path / "m")
    row = " ".join(interp("audit", tmp_path / "m", "--no-report").row("L1H0"))
    found = re.search(r"(-\d+\.\d+) \[(-\d+\.\d+), (-\d+\.\d+)\]", row)
    assert found is not None, row
    mean, low, high = map(float, found.groups())
    assert low <= mean <= high < -1


def test_where_the_model_is_worse_than_chance_the_loss_is_said_not_to_decide():
    report = audit(make("no_copy", **SIZE).model, bos=0)
    causal = next(e for e in report["L0H0"].claims[0].evidence if e.kind == "causal")
    loss = next(m for m in causal.measurements if m.name.startswith("loss on predictable tokens when removed"))
    assert re.fullmatch(r"cannot decide: on these tokens the model is [\d.]+ nats worse than chance", loss.rule)
    assert loss.holds is None
    assert causal.measurements[0].name.startswith("share of L1H0's prefix matching")
    assert causal.status == "for"


def test_the_push_of_every_head_is_in_the_json():
    report = audit(make("induction_k", **SIZE).model, bos=0)
    push = report.to_dict()["measurements"]["next_token_push"]
    assert push["score"][1][0] > 10 > abs(push["score"][0][0])
    assert set(push["nulls"]) == {"typical token of the sequence", "present token"}


def test_the_overview_of_commands_has_no_gaps_inside_its_lines(capsys):
    assert cli.run(["--help"]) == 0
    said = [line[len(line) - len(line.lstrip()) :] for line in capsys.readouterr().out.splitlines()]
    texts = [re.sub(r"^[a-z]+ {2,}", "", line) for line in said]
    assert [text for text in texts if "  " in text] == []


@pytest.mark.parametrize(
    ("reached", "holds"),
    [
        ([True, True, True], True),
        ([True, None, True], None),
        ([True, True, False], None),
        ([True, False, False], False),
        ([True, False], False),
        ([True, True, False, False, False], False),
        ([False, False, False], False),
    ],
)
def test_prefix_matching_at_some_periods_only_is_undecided_from_two_and_half_of_them_on(reached, holds):
    assert at_every(reached) is holds
