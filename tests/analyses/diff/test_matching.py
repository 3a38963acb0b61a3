"""The matching: a permutation found again, the best of all by trying them all, and a null that is fair."""

from itertools import permutations

import pytest
import torch

from analyses.diff.distances import Profiles
from analyses.diff.matching import best, match


def drawn(n, generator, n_scores=6):
    value = torch.rand(n, n_scores, generator=generator, dtype=torch.float64)
    return Profiles(value, torch.full_like(value, 0.01), torch.full_like(value, 0.01))


def chosen(profiles, order):
    return Profiles(profiles.value[order], profiles.down[order], profiles.up[order])


def depths(n):
    return torch.linspace(0, 1, n, dtype=torch.float64)


def test_the_same_heads_in_another_order_are_found_again(generator):
    before, order = drawn(12, generator), torch.randperm(12, generator=generator)
    found = match(before, chosen(before, order), depths(12), depths(12), generator)
    assert found.pairs == tuple((int(order[j]), j) for j in order.argsort().tolist())
    assert set(found.distance) == {0.0}
    assert max(found.p_value) < 0.05


def test_of_heads_that_are_missing_on_one_side_the_others_are_still_found(generator):
    before = drawn(9, generator)
    found = match(before, chosen(before, torch.tensor([7, 2, 5])), depths(9), depths(3), generator)
    assert found.pairs == ((2, 1), (5, 2), (7, 0))


def test_the_matching_has_the_smallest_sum_of_all(generator):
    cost = torch.rand(6, 6, generator=generator, dtype=torch.float64)
    smallest = min(sum(float(cost[i, j]) for i, j in enumerate(order)) for order in permutations(range(6)))
    assert sum(float(cost[pair]) for pair in best(cost)) == pytest.approx(smallest)


def test_between_equal_heads_the_depth_decides(generator):
    same = Profiles(*(torch.zeros(3, 2, dtype=torch.float64) for _ in range(3)))
    found = match(same, same, torch.tensor([0.0, 0.5, 1.0]).double(), torch.tensor([1.0, 0.0, 0.5]).double(), generator)
    assert found.pairs == ((0, 1), (1, 2), (2, 0))


def test_what_differs_within_intervals_decides_before_the_depth(generator):
    value = torch.tensor([[0.50], [0.51]], dtype=torch.float64)
    wide = torch.full_like(value, 0.2)
    before, after = Profiles(value, wide, wide), Profiles(value.flip(0), wide, wide)
    found = match(before, after, depths(2), depths(2), generator)
    assert found.pairs == ((0, 1), (1, 0))
    assert found.distance == (0.0, 0.0)


def test_heads_that_have_nothing_to_do_with_each_other_are_matched_by_chance(generator):
    """Of 40 pairs of unrelated models the p-values are about uniform: the matching's own choice is in the null."""
    p_values = torch.tensor(
        [
            p
            for _ in range(40)
            for p in match(drawn(6, generator), drawn(6, generator), depths(6), depths(6), generator, draws=50).p_value
        ]
    )
    assert 0.4 < float(p_values.mean()) < 0.6
    assert float((p_values <= 0.05).float().mean()) < 0.1


def test_one_head_against_one_has_no_null_and_against_several_deals_the_several(generator):
    one, several = drawn(1, generator), drawn(4, generator)
    assert match(one, one, depths(1), depths(1), generator).p_value is None
    forth = match(one, several, depths(1), depths(4), generator)
    back = match(several, one, depths(4), depths(1), generator)
    assert len(forth.null) == len(back.null) == 100
    assert min(forth.null.std(), back.null.std()) > 0
