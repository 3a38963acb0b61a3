"""Ratios of means: exact cases, how often the interval holds the truth, and what is not divided by."""

import pytest
import torch

from interp.errors import InputError
from interp.stats.ratios import resample


def test_a_ratio_is_one_of_means_and_not_a_mean_of_ratios(generator):
    """(1 + 0) / (1 + 3) = 1/4, while the mean of 1/1 and 0/3 is 1/2."""
    found = resample(2, generator).ratio(torch.tensor([[1.0], [0.0]]), torch.tensor([1.0, 3.0]))
    assert found.mean.tolist() == [0.25]
    assert (float(found.low), float(found.high)) == (0.0, 1.0)


def test_a_constant_ratio_has_no_spread_however_its_parts_vary(generator):
    below = torch.rand(20, generator=generator).double() + 0.1
    found = resample(20, generator).ratio(torch.stack([below, -2 * below], dim=1), below)
    for each in (found.mean, found.low, found.high):
        assert each.tolist() == pytest.approx([1, -2], abs=1e-12)
    assert "percentile bootstrap of the ratio, 2000 resamples" in found.method


def test_the_interval_holds_the_true_ratio_as_often_as_it_says(generator):
    """Numerator and denominator skewed and correlated, n = 40: about 95 % of 400 intervals."""
    hits = 0
    for _ in range(400):
        below = torch.randn(40, generator=generator).double().exp()
        above = 0.3 * below + 0.5 * torch.randn(40, generator=generator).double()
        found = resample(40, generator, draws=400).ratio(above[:, None], below)
        hits += float(found.low) <= 0.3 <= float(found.high)
    assert 0.90 < hits / 400 < 0.98


def test_a_denominator_on_both_sides_of_0_is_not_divided_by(generator):
    below = torch.randn(30, generator=generator)
    draws = resample(30, generator)
    below = below - below.mean() + 0.1
    assert not draws.can_divide_by(below)
    with pytest.raises(InputError, match=r"mean, 0\.1, cannot be told from 0"):
        draws.ratio(torch.ones(30, 1), below)
    assert not draws.can_divide_by(torch.zeros(30))
    assert draws.can_divide_by(below + 1)
    assert draws.can_divide_by(below - 2)


def test_limits_are_finite_exactly_where_division_is_allowed(generator):
    """Denominators of every strength around the edge; some resamples of them lie on the wrong side of 0."""
    noise, close = torch.randn(12, generator=generator).double(), 0
    noise -= noise.mean()
    draws = resample(12, generator)
    for shift in torch.linspace(0.05, 1.2, 60).tolist():
        below = noise + shift
        lost = int((draws.shares @ below <= 0).sum())
        assert draws.can_divide_by(below) == (lost <= 49)
        if lost <= 49:
            found = draws.ratio(torch.ones(12, 1), below)
            assert bool(found.low.isfinite().all() and found.high.isfinite().all())
            assert float(found.low) <= float(found.mean) <= float(found.high)
            close += lost > 0
        else:
            low, high = draws.limits(torch.ones(2000, 1), draws.shares @ below <= 0)
            assert (float(low), float(high)) == (-torch.inf, torch.inf)
    assert close > 5


def test_resamples_are_drawn_from_the_generator_alone():
    one, two = (resample(9, torch.Generator().manual_seed(5), draws=50).shares for _ in range(2))
    assert torch.equal(one, two)
    assert one.sum(1).tolist() == pytest.approx([1] * 50)


def test_what_cannot_be_resampled_is_refused(generator):
    with pytest.raises(InputError, match=r"got 1, 2000, 0\.95"):
        resample(1, generator)
    with pytest.raises(InputError, match=r"got 4, 2000, 1\.5"):
        resample(4, generator, level=1.5)
    with pytest.raises(InputError, match="numerators must be finite"):
        resample(3, generator).ratio(torch.tensor([[1.0], [torch.nan], [0.0]]), torch.ones(3))
