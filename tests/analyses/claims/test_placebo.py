"""The control against itself: which seeds are drawn, and how often it is said to hold."""

import statistics

import pytest
import torch
from scipy import stats

from analyses.claims.claim import Arm, Comparison
from analyses.claims.placebo import (
    control_arms,
    draw_seeds,
    holds_too_often,
    measured_placebo,
    needs_placebo,
    placebo_tasks,
    seeds_for,
)
from analyses.claims.running import run_claim
from analyses.claims.stored import Stored, document_of
from interp.errors import InputError
from tests.analyses.claims.fakes import IDENTITY, claim, noisy, steady

GREATER = Comparison("here", "score", "score", "shifted", "plain", "greater", 0.0)
ALIKE = Comparison("alike", "score", "score", "shifted", "plain", "equivalent", 2.0)
NOISY = claim(arms={"shifted": Arm(steady), "plain": Arm(noisy)}, comparisons=(GREATER, ALIKE), picture=None)


def result(of=NOISY, seconds=1.0) -> Stored:
    return Stored(document_of(run_claim(of), dict.fromkeys(of.arms, 3 * seconds)))


def placebo(draws, fresh=True, of=NOISY):
    seeds = {seed for draw in draws for side in draw for seed in side}
    rows = {"plain": {seed: noisy(seed, "cpu", 1.0) for seed in seeds}}
    return measured_placebo(of, rows, draws, fresh, 0.0)


def fresh_draws(n):
    return draw_seeds(range(6 * n), True, 3, n, torch.Generator())


def twin(draw):
    """The interval of one draw, by scipy."""
    treated, control = ([noisy(seed, "cpu", 1.0)["score"] for seed in side] for side in draw)
    differences = [t - c for t, c in zip(treated, control, strict=True)]
    return stats.t.interval(0.95, 2, statistics.mean(differences), stats.sem(differences))


def test_it_is_the_control_arm_that_is_compared_with_itself():
    assert list(control_arms(NOISY)) == ["plain"]
    tasks = placebo_tasks(NOISY, result(), (0, 5))
    assert [(task.arm, task.seed) for task in tasks["plain"]] == [(NOISY.arms["plain"], 0), (NOISY.arms["plain"], 5)]


def test_counts_are_those_of_intervals_computed_by_scipy():
    draws = fresh_draws(200)
    found = placebo(draws)
    assert found.holds == sum(twin(draw)[0] > 0 for draw in draws) == 4
    assert found.with_a_condition == 0
    assert found.equivalent[0].within == sum(low >= -2 and high <= 2 for low, high in map(twin, draws))
    half = statistics.median((high - low) / 2 for low, high in map(twin, draws))
    assert found.equivalent[0].half_width == pytest.approx(half)


def test_without_a_difference_it_holds_in_about_one_draw_of_forty():
    found = placebo(fresh_draws(400))
    assert 3 <= found.holds <= 20  # 10 expected; a wrong tail or a wrong t would give 20 or far more
    assert found.draws == 400


def test_the_smallest_difference_that_matters_keeps_more_draws_from_holding():
    strict = claim(arms=NOISY.arms, comparisons=(Comparison(*["x"] * 2, "score", "shifted", "plain", "greater", 50.0),))
    assert placebo(fresh_draws(100), of=strict).holds == 0


def test_two_comparisons_that_both_have_to_hold_are_judged_together():
    opposite = Comparison("there", "minus", "score", "shifted", "plain", "greater", 0.0, control_value="minus")
    both = claim(arms=NOISY.arms, comparisons=(GREATER, opposite))
    draws = fresh_draws(200)
    seeds = {seed for draw in draws for side in draw for seed in side}
    rows = {s: noisy(s, "cpu", 1.0) for s in seeds}
    rows = {"plain": {s: row | {"minus": -row["score"]} for s, row in rows.items()}}
    found = measured_placebo(both, rows, draws, True, 0.0)
    high = sum(twin(draw)[1] < 0 for draw in draws)
    assert (found.holds, found.compared) == (0, 2)
    assert found.with_a_condition == 4 + high


def test_draws_from_a_pool_are_disjoint_pairs_all_different():
    draws = draw_seeds(range(8), False, 3, 20, torch.Generator().manual_seed(0))
    assert all(len({*a, *b}) == 6 for a, b in draws)
    assert len({frozenset(zip(a, b, strict=True)) for a, b in draws}) == 20


def test_fresh_draws_share_no_seed():
    assert len({seed for draw in fresh_draws(20) for side in draw for seed in side}) == 120


def test_a_pool_too_small_for_so_many_draws_is_refused():
    with pytest.raises(InputError, match="a pool of 2 seeds has 2 pairs of sets of 1, fewer than 20: --pool"):
        draw_seeds(range(2), False, 1, 20, torch.Generator())


@pytest.mark.parametrize(("seconds", "count", "fresh"), [(100.0, 8, False), (1.0, 15, False), (0.01, 120, True)])
def test_the_longer_a_training_takes_the_fewer_seeds_and_the_runs_own_are_among_them(seconds, count, fresh):
    seeds, found = seeds_for(NOISY, result(seconds=seconds), 20, 8)
    assert (len(set(seeds)), found) == (count, fresh)
    assert {0, 1, 2} <= set(seeds) or fresh


def test_identities_need_none():
    assert not needs_placebo(IDENTITY)
    assert not needs_placebo(claim(trained=False))
    assert needs_placebo(NOISY)


def test_more_than_two_draws_of_twenty_are_too_many():
    assert [holds_too_often({"holds": n, "draws": 20}) for n in (None, 0, 2, 3)] == [False, False, False, True]
    assert not holds_too_often(None)
