"""Heads that are easily missed: one that acts at late positions only, one with a twin, feeders that share the work."""

import pytest
import torch

from analyses.audit import Criteria, audit
from analyses.audit.feeders import name_feeders
from analyses.audit.feeding import measure_feeding
from analyses.evidence import Claim
from interp.heads import Protocol, predictable_positions, repeated_tokens
from interp.names import Head
from toy_models.handmade.blocks import HeadPlan, Match, Plan, Size, build
from toy_models.handmade.induction import matching_head, previous_token_head
from toy_models.handmade.tables import copy, same

SIZE = Size(d_vocab=32, n_ctx=48)
WIDTHS = SIZE.widths(by_token="tok prev out", by_position="pos")


def audited(*second: HeadPlan):
    """The audit of a previous-token head (and idle ones) below these heads."""
    idle = [HeadPlan("idle")] * (len(second) - 1)
    plan = Plan(SIZE, WIDTHS, ((previous_token_head(SIZE), *idle), second))
    return audit(build(plan), bos=0)


def leading(claim: Claim, kind: str):
    return next(e for e in claim.evidence if e.kind == kind).measurements[0]


def late_head(start: int) -> HeadPlan:
    """An induction head that rests on position 0 before position `start`."""
    rest = torch.zeros(SIZE.n_ctx, SIZE.n_ctx, dtype=torch.float64)
    rest[:start, 0] = 2 * SIZE.sharpness
    moves = (copy(SIZE, "tok", "out", SIZE.gain),)
    return HeadPlan("induction", (same(SIZE, "tok", "prev"), Match("pos", "pos", rest)), moves)


def test_a_head_that_matches_at_late_positions_only_is_an_induction_head_at_every_period():
    report = audited(late_head(22))
    assert report.heads("induction") == ["L1H0"]
    scores = {p: float(s.score[1, 0]) for p, s in report.battery.by_period.items()}
    assert len(scores) == 4
    assert all(0.5 < score < 1 for period, score in scores.items() if period < 20)


def test_twins_that_stand_in_for_each_other_are_both_induction_heads_and_that_is_said():
    report = audited(matching_head(SIZE), matching_head(SIZE))
    assert report.heads("induction", "strong") == ["L1H0", "L1H1"]
    for head in ("L1H0", "L1H1"):
        claim = report[head].claims[0]
        assert leading(claim, "causal").name.startswith("loss it adds when removed beside the other heads")
        assert leading(claim, "causal").value > 2
        assert "they stand in for it" in " ".join(claim.notes)


def test_a_single_induction_head_is_judged_by_its_removal_alone():
    claim = audited(matching_head(SIZE))["L1H0"].claims[0]
    assert leading(claim, "causal").name.startswith("loss on predictable tokens when removed")
    assert not any("stand in" in note for note in claim.notes)


def test_heads_that_are_each_missed_are_judged_by_their_own_removal():
    report = audited(matching_head(SIZE, 0.3), matching_head(SIZE, 0.3))
    assert report.heads("induction", "strong") == ["L1H0", "L1H1"]
    claim = report["L1H1"].claims[0]
    assert leading(claim, "causal").name.startswith("loss on predictable tokens when removed")
    assert not any("stand in" in note for note in claim.notes)


def part_time_previous_token_head(turns: range) -> HeadPlan:
    """Looks one token back from positions that are one of `turns` modulo 12, and rests on position 0 else."""
    places = torch.zeros(SIZE.n_ctx, SIZE.n_ctx, dtype=torch.float64)
    for position in range(1, SIZE.n_ctx):
        places[position, position - 1 if position % 12 in turns else 0] = 2 * SIZE.sharpness
    return HeadPlan("previous-token", (Match("pos", "pos", places),), (copy(SIZE, "tok", "prev", 1.0),))


def test_feeders_that_are_small_each_are_named_as_far_as_all_are_needed_together():
    """One head has half of the positions and six a twelfth each: all but one of those are missed when left out."""
    twelfths = [part_time_previous_token_head(range(turn, turn + 1)) for turn in range(6, 12)]
    first = (part_time_previous_token_head(range(6)), *twelfths)
    model = build(Plan(SIZE, WIDTHS, (first, (matching_head(SIZE), *[HeadPlan("idle")] * 6))))
    protocol, generator = Protocol(2, 15, d_vocab=32, bos=0), torch.Generator().manual_seed(0)
    tokens = repeated_tokens(protocol, 8, generator)
    feeding = measure_feeding(model, Head(1, 0), tokens, predictable_positions(protocol, 8), generator, Criteria())
    without = [loss.without.mean for loss in feeding.losses if loss.channel == "K"]
    assert all(1 / 20 < share < 1 / 10 < 2 * share for share in without[1:])
    named = [Head.parse(feeder.head) for feeder in name_feeders(feeding, (), Criteria())[0]]
    assert named[0] == Head(0, 0)
    assert len(named) == 6
    assert feeding.enough["K"].lost.mean == pytest.approx(max(without[1:]), abs=1e-3)
    assert list(feeding.enough) == ["K"]
