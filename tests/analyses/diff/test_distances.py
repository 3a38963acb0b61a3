"""Distances between heads: zero within the intervals, by hand beyond them."""

import math

import pytest
import torch

from analyses.diff.audited import Score
from analyses.diff.distances import LEAST, Profiles, difference, distances, plain_distances, profiles, scales, widening
from interp.stats import Estimate, Estimates


def heads(values, arm):
    value = torch.tensor(values, dtype=torch.float64)
    return Profiles(value, torch.full_like(value, arm), torch.full_like(value, arm))


def score(values, arm=0.1, scale=1.0, name="prefix_matching"):
    mean = torch.tensor(values, dtype=torch.float64)
    estimates = Estimates(mean, mean - arm, mean + 2 * arm, 32, 0.95, "by hand")
    return Score(name, "share of attention", scale, "some tokens", estimates)


def test_a_difference_has_the_interval_of_zou_and_donner():
    """Down by the arm below the later and the arm above the earlier value, in quadrature; up by the other two."""
    found = difference(Estimate(0.5, 0.4, 0.7, 32, 0.95, ""), Estimate(0.9, 0.6, 0.95, 16, 0.95, ""), 1)
    assert found.mean == pytest.approx(0.4)
    assert found.low == pytest.approx(0.4 - math.hypot(0.3, 0.2))
    assert found.high == pytest.approx(0.4 + math.hypot(0.05, 0.1))
    assert found.n == 16


def test_intervals_grow_with_the_number_of_comparisons_by_the_ratio_of_normal_quantiles():
    assert widening(0.95, 1) == 1
    assert widening(0.95, 10) == pytest.approx(2.807034 / 1.959964, abs=1e-6)
    before, after = Estimate(0.5, 0.4, 0.6, 32, 0.95, ""), Estimate(0.5, 0.4, 0.6, 32, 0.95, "")
    assert difference(before, after, 10).high == pytest.approx(0.1 * math.sqrt(2) * widening(0.95, 10))


def test_a_distance_is_what_differs_beyond_the_intervals_in_root_mean_square():
    before, after = heads([[0.0, 0.0]], 0.03), heads([[1.0, 0.02], [0.5, -0.5]], 0.04)
    found = distances(before, after)[0]
    assert found[0] == pytest.approx((1 - 0.05) / math.sqrt(2))
    assert found[1] == pytest.approx(0.5 - 0.05)
    assert plain_distances(before, after)[0, 1] == pytest.approx(0.5)


def test_the_arms_that_count_are_those_towards_each_other():
    value = torch.zeros(1, 1, dtype=torch.float64)
    low = Profiles(value, value + 9, value + 0.3)
    high = Profiles(value + 1, value + 0.4, value + 9)
    assert distances(low, high).item() == distances(high, low).item() == pytest.approx(0.5)


def test_an_exact_score_that_moved_by_less_than_the_least_counted_did_not_move():
    before = heads([[0.5]], 0.0)
    assert distances(before, heads([[0.5 + 0.9 * LEAST]], 0.0)).item() == 0
    assert distances(before, heads([[0.5 + 2 * LEAST]], 0.0)).item() == pytest.approx(LEAST)


def test_a_score_that_is_not_finite_is_left_out_of_the_distance():
    assert distances(heads([[0.0, math.nan]], 0.0), heads([[0.5, 0.5]], 0.0)).item() == pytest.approx(0.5 - LEAST)


def test_scores_are_divided_by_a_perfect_heads_or_by_the_largest_of_either_model():
    before = {"a": score([0.1, 0.2], scale=0.5), "b": score([1.0, -3.0], scale=None), "only before": score([0.0, 0.0])}
    after = {"a": score([0.3], scale=0.6), "b": score([2.0], scale=None)}
    by = scales(before, after)
    assert by == {"a": 0.6, "b": 3.0}
    found = profiles(before, by, 1)
    assert found.value.flatten().tolist() == pytest.approx([0.1 / 0.6, 1 / 3, 0.2 / 0.6, -1])
    assert found.down[0].tolist() == pytest.approx([0.1 / 0.6, 0.1 / 3])
    assert found.up[0].tolist() == pytest.approx([0.2 / 0.6, 0.2 / 3])


def test_dealing_keeps_every_scores_values_and_takes_heads_apart():
    profile = heads([[0.0, 10.0], [1.0, 11.0], [2.0, 12.0]], 0.0)
    dealt = profile.dealt(torch.tensor([[0.1, 0.9], [0.2, 0.5], [0.3, 0.1]], dtype=torch.float64))
    assert dealt.value.tolist() == [[0.0, 12.0], [1.0, 11.0], [2.0, 10.0]]
