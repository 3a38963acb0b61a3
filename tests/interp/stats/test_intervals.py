"""Intervals and p-values against SciPy, textbook figures and simulation."""

import math

import numpy as np
import pytest
import scipy.stats
import torch

from interp.errors import InputError
from interp.stats import (
    bootstrap_interval,
    bootstrap_intervals,
    clopper_pearson,
    monte_carlo_p_value,
    null_summary,
    p_value,
    sign_flip_p_values,
    student_t_interval,
    student_t_intervals,
)

# Fisher (1935, The Design of Experiments, section 17): Darwin's 15 pairs of maize, in eighths of an inch.
DARWIN = torch.tensor([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48], dtype=torch.float64)


def skewed(n: int, columns: int = 1) -> torch.Tensor:
    return torch.empty(n, columns, dtype=torch.float64).exponential_(generator=torch.Generator().manual_seed(3))


def test_sixty_successes_of_sixty_show_a_share_above_94_percent():
    estimate = clopper_pearson(60, 60)
    assert estimate.low == pytest.approx(0.025 ** (1 / 60))
    assert round(estimate.low, 3) == 0.940
    assert (estimate.mean, estimate.high) == (1.0, 1.0)


@pytest.mark.parametrize("successes, trials, level", [(0, 7, 0.95), (3, 20, 0.95), (19, 20, 0.9), (50, 100, 0.99)])
def test_clopper_pearson_agrees_with_scipys_binomial_test(successes, trials, level):
    oracle = scipy.stats.binomtest(successes, trials).proportion_ci(level, method="exact")
    estimate = clopper_pearson(successes, trials, level)
    assert (estimate.low, estimate.high) == pytest.approx((oracle.low, oracle.high), abs=1e-12)
    assert (estimate.n, estimate.level, estimate.method) == (trials, level, "Clopper-Pearson")


def test_student_interval_agrees_with_scipy():
    oracle = scipy.stats.ttest_1samp(DARWIN.numpy(), 0).confidence_interval(0.9)
    estimate = student_t_interval(DARWIN, level=0.9)
    assert (estimate.low, estimate.high) == pytest.approx((oracle.low, oracle.high))
    assert estimate.mean == pytest.approx(314 / 15)


@pytest.mark.parametrize("method", ["percentile", "bca"])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_bootstrap_agrees_with_scipy_on_skewed_samples(generator, method, level):
    x = skewed(40)[:, 0]
    oracle = scipy.stats.bootstrap(
        (x.numpy(),),
        np.mean,
        confidence_level=level,
        n_resamples=20000,
        method={"bca": "BCa", "percentile": "percentile"}[method],
        rng=np.random.default_rng(0),
    ).confidence_interval
    estimate = bootstrap_interval(x, generator, level=level, draws=20000, method=method)
    # Two Monte-Carlo runs of 20000 resamples: their quantiles differ by about 1 % of the interval's width.
    assert (estimate.low, estimate.high) == pytest.approx((oracle.low, oracle.high), abs=0.02)
    assert estimate.mean == pytest.approx(float(x.mean()))


def test_bca_moves_the_interval_towards_the_long_tail(generator):
    x = skewed(40)[:, 0]
    plain = bootstrap_interval(x, generator, draws=20000, method="percentile")
    corrected = bootstrap_interval(x, generator, draws=20000, method="bca")
    assert corrected.low > plain.low + 0.01
    assert corrected.high > plain.high + 0.02


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_bootstrap_equals_a_plain_loop_over_the_same_resamples(method):
    x = skewed(9)[:, 0].numpy()
    picks = torch.randint(9, (51, 9), generator=torch.Generator().manual_seed(2)).numpy()
    means = np.array([np.mean([x[i] for i in row]) for row in picks])
    levels = [0.1, 0.9]
    if method == "bca":
        normal = scipy.stats.norm
        left_out = np.array([np.mean(np.delete(x, i)) for i in range(9)])
        d = left_out.mean() - left_out
        a = np.sum(d**3) / (6 * np.sum(d**2) ** 1.5)
        z0 = normal.ppf(np.mean(means < x.mean()))
        levels = [normal.cdf(z0 + (z0 + z) / (1 - a * (z0 + z))) for z in normal.ppf(levels)]
    estimate = bootstrap_interval(torch.tensor(x), torch.Generator().manual_seed(2), 0.8, 51, method)
    assert (estimate.low, estimate.high) == pytest.approx(tuple(np.quantile(means, levels)), rel=1e-9)


def test_every_element_gets_its_own_interval():
    x = torch.stack([skewed(30)[:, 0], 5 - 2 * skewed(30)[:, 0]], dim=1).reshape(30, 2, 1)
    both = bootstrap_intervals(x, torch.Generator().manual_seed(1))
    for layer in range(2):
        alone = bootstrap_interval(x[:, layer, 0], torch.Generator().manual_seed(1))
        seen = both[layer, 0]
        assert (seen.mean, seen.low, seen.high) == pytest.approx((alone.mean, alone.low, alone.high), rel=1e-12)
    assert both.mean.shape == (2, 1)


def test_bootstrap_interval_covers_the_mean_about_as_often_as_it_says(generator):
    """500 experiments at once: 30 exponential samples each, true mean 1, 90 % asked."""
    x = torch.empty(30, 500, dtype=torch.float64).exponential_(generator=generator)
    estimate = bootstrap_intervals(x, generator, level=0.9, method="bca")
    covered = ((estimate.low <= 1) & (estimate.high >= 1)).double().mean()
    assert 0.84 <= covered <= 0.94
    student = student_t_intervals(x, level=0.9)
    assert 0.84 <= ((student.low <= 1) & (student.high >= 1)).double().mean() <= 0.94


def test_equal_samples_give_an_interval_of_width_zero(generator):
    x = torch.full((10, 3), 0.1)
    estimate = bootstrap_intervals(x, generator)
    assert torch.equal(estimate.low, estimate.mean)
    assert torch.equal(estimate.high, estimate.mean)
    assert estimate.mean.tolist() == pytest.approx([0.1] * 3)


def test_same_generator_gives_the_same_interval():
    first, second = (bootstrap_interval(DARWIN, torch.Generator().manual_seed(5)) for _ in range(2))
    assert first == second
    assert first != bootstrap_interval(DARWIN, torch.Generator().manual_seed(6))


def test_all_signs_of_darwins_maize_give_fishers_p_value(generator):
    """Fisher counted 863 of 32768 sign assignments that sum to 314 or more."""
    assert float(sign_flip_p_values(DARWIN, generator, draws=2**15, alternative="greater")) == 863 / 32768
    assert float(sign_flip_p_values(DARWIN, generator, draws=2**15)) == 2 * 863 / 32768
    assert float(sign_flip_p_values(-DARWIN, generator, draws=2**15, alternative="less")) == 863 / 32768


def test_random_signs_come_close_to_all_signs(generator):
    # Binomial standard error at p = .0527 with 9999 draws: .0022.
    assert float(sign_flip_p_values(DARWIN, generator)) == pytest.approx(2 * 863 / 32768, abs=0.009)


def test_sign_flips_treat_each_element_alone(generator):
    x = torch.stack([torch.ones(12), torch.tensor([1.0, -1.0] * 6)], dim=1)
    p = sign_flip_p_values(x, generator, alternative="greater")
    assert p.tolist() == pytest.approx([1 / 4096, 0.5 + math.comb(12, 6) / 4096 / 2])


def test_sign_flip_p_values_are_uniform_when_nothing_is_there(generator):
    x = torch.randn(20, 1000, generator=generator)
    p = sign_flip_p_values(x, generator, draws=999)
    for cut in (0.05, 0.2, 0.5):
        assert float((p <= cut).double().mean()) == pytest.approx(cut, abs=4 * math.sqrt(cut * (1 - cut) / 1000))


def test_a_p_value_is_never_zero():
    assert p_value(0, 99) == 0.01
    assert p_value(99, 99) == 1.0


def test_monte_carlo_p_value_counts_the_tail_that_is_asked_for():
    draws = torch.arange(1.0, 20.0)  # 1..19
    assert monte_carlo_p_value(19.0, draws) == 2 / 20
    assert monte_carlo_p_value(19.5, draws) == 1 / 20
    assert monte_carlo_p_value(19.0, draws, "less") == 1.0
    assert monte_carlo_p_value(1.5, draws, "two-sided") == 2 * 2 / 20


def test_null_summary_of_known_numbers():
    null = null_summary(torch.arange(101.0), "whole numbers")
    assert (null.mean, null.q95, null.q99, null.maximum, null.n) == (50, 95, 99, 100, 101)
    assert null.std == pytest.approx(np.std(np.arange(101), ddof=1))
    assert null.to_dict()["description"] == "whole numbers"


def test_estimates_read_as_numbers_in_json(generator):
    estimate = student_t_intervals(torch.tensor([[1.0], [3.0]]))
    as_dict = estimate.to_dict()
    assert as_dict["mean"] == [2.0]
    assert as_dict["low"] == pytest.approx([2 - scipy.stats.t.ppf(0.975, 1)])
    assert estimate[0].to_dict()["n"] == 2
    assert str(estimate[0]) == "2 [-10.7, 14.7]"


def test_samples_that_carry_no_information_are_refused(generator):
    with pytest.raises(InputError, match="at least 2 samples are needed, got 1"):
        bootstrap_interval(torch.ones(1), generator)
    with pytest.raises(InputError, match="finite"):
        student_t_interval(torch.tensor([1.0, math.nan]))
    with pytest.raises(InputError, match="between 0 and 1, got 95"):
        bootstrap_interval(DARWIN, generator, level=95.0)
    with pytest.raises(InputError, match="got 3 of 2"):
        clopper_pearson(3, 2)
    with pytest.raises(InputError, match="b=3, n=2"):
        p_value(3, 2)
    with pytest.raises(InputError, match="at least 2 samples"):
        null_summary(torch.ones(1), "one draw")
    with pytest.raises(InputError, match="at least 2 resamples, got 0"):
        bootstrap_interval(DARWIN, generator, draws=0)
