"""The verdict is a function of effect, control, interval and margin: every word from synthetic results."""

import math

import pytest
import torch

from analyses.claims import Part, judge
from interp.errors import InputError
from interp.stats import student_t_interval


def part(treated, control, kind="greater", margin=0.5, condition="here", **more) -> Part:
    return Part(condition, "score", tuple(treated), tuple(control), kind, margin, **more)


HOLDS = part((3.0, 3.1, 2.9), (1.0, 1.1, 0.9), condition="deep")
OPPOSITE = part((1.0, 1.1, 0.9), (3.0, 3.1, 2.9), condition="shallow")
NOISY = part((9.0, 0.0, 3.0), (1.0, 2.0, 3.0), condition="noisy")


def test_a_clear_difference_in_the_claimed_direction_holds():
    assert judge([HOLDS]).word == "holds"


def test_an_interval_on_the_opposite_side_does_not_hold():
    assert judge([OPPOSITE]).word == "does not hold here"


def test_a_difference_inside_the_margin_does_not_hold_however_certain():
    assert judge([part((1.10, 1.11, 1.12), (1.0, 1.0, 1.0))]).word == "does not hold here"


def test_a_wide_interval_is_undecided():
    assert judge([NOISY]).word == "undecided at this budget"


def test_a_mean_below_the_margin_with_an_interval_that_leaves_it_is_undecided():
    assert judge([part((0.3, 0.4, 0.5), (0.0, 0.0, 0.0), margin=0.5)]).word == "undecided at this budget"


def test_some_conditions_holding_is_a_condition_that_names_them_all():
    verdict = judge([HOLDS, OPPOSITE, NOISY])
    assert verdict.word == "holds with a condition"
    assert verdict.condition == "holds for deep; not for shallow; undecided for noisy"


def test_failing_here_and_undecided_there_is_undecided():
    assert judge([OPPOSITE, NOISY]).word == "undecided at this budget"


def test_equivalence_needs_the_whole_interval_inside_the_margin():
    close, apart = (1.01, 1.0, 0.99), (2.0, 2.1, 1.9)
    one = (1.0, 1.0, 1.0)
    assert judge([part(close, one, "equivalent")]).word == "holds"
    assert judge([part(apart, one, "equivalent")]).word == "does not hold here"
    assert judge([part((1.0, 2.0, 0.0), one, "equivalent")]).word == "undecided at this budget"


def test_an_identity_needs_a_small_error_and_a_control_that_errs():
    assert judge([part((1e-9,), (1.0,), "exact", 1e-6)]).word == "holds"
    assert judge([part((1e-3,), (1.0,), "exact", 1e-6)]).word == "does not hold here"
    assert judge([part((1e-9,), (1e-8,), "exact", 1e-6)]).word == "undecided at this budget"
    assert judge([part((math.nan,), (1.0,), "exact", 1e-6)]).word == "does not hold here"
    assert judge([part((1e-9,), (math.inf,), "exact", 1e-6)]).word == "holds"


def test_what_is_out_of_reach_cannot_be_tested_whatever_was_checked_instead():
    assert judge([HOLDS], untestable=True).word == "cannot be tested at this scale"


def test_there_is_no_verdict_without_a_control():
    with pytest.raises(InputError, match="control"):
        judge([])
    with pytest.raises(InputError, match="3 and 2 values"):
        part((1.0, 2.0, 3.0), (1.0, 2.0))


def test_one_seed_or_a_value_that_is_not_finite_decides_nothing():
    assert judge([part((3.0,), (1.0,))]).word == "undecided at this budget"
    assert judge([part((3.0, math.nan, 3.0), (1.0, 1.0, 1.0))]).word == "undecided at this budget"


def test_the_interval_is_the_paired_t_interval_of_the_differences():
    estimate = part((3.0, 5.0, 4.0), (1.0, 2.0, 4.0)).estimate
    expected = student_t_interval(torch.tensor([2.0, 3.0, 0.0]))
    assert estimate is not None
    assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high))
    assert estimate.mean == pytest.approx(5 / 3)


def test_ratios_are_compared_by_their_logarithm():
    assert part((2.0, 8.0), (1.0, 2.0), scale="log ratio").effects == pytest.approx((math.log(2), math.log(4)))
    assert judge([part((2.0, 0.0), (1.0, 2.0), scale="log ratio")]).word == "undecided at this budget"


def test_seeds_that_agree_to_the_digit_are_no_more_alike_than_rounding_lets_them_look():
    agreed = part((0.98, 0.98, 0.98), (0.97, 0.97, 0.97), margin=0.005, resolution=0.01)
    estimate = agreed.estimate
    assert estimate is not None
    assert estimate.high - estimate.mean == pytest.approx(4.302653 * 0.01 / math.sqrt(36), rel=1e-5)
    assert agreed.outcome == "holds"
    assert part((0.98,) * 3, (0.97,) * 3, margin=0.005, resolution=0.05).outcome == "undecided at this budget"
