"""What the best discriminator judges and reaches, against closed forms and against trying others."""

import math

import pytest
import torch

from interp.errors import InputError
from interp.stats import discriminator_value, divergence, optimal_discriminator


def drawn(seed, n=20):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 5, generator=generator, dtype=torch.float64).softmax(-1)


def test_equal_distributions_leave_a_half_and_minus_log_four():
    p = drawn(0)
    judged = optimal_discriminator(p, p)
    assert torch.equal(judged, torch.full_like(p, 0.5))
    assert torch.allclose(discriminator_value(p, p, judged), torch.tensor(-math.log(4), dtype=torch.float64))


def test_the_value_of_the_best_discriminator_is_twice_jensen_shannon_less_log_four():
    p, q = drawn(0), drawn(1)
    expected = 2 * divergence(p, q, "jensen-shannon") - math.log(4)
    assert torch.allclose(discriminator_value(p, q, optimal_discriminator(p, q)), expected, atol=1e-12)


def test_no_other_discriminator_reaches_more():
    p, q = drawn(0), drawn(1)
    best = discriminator_value(p, q, optimal_discriminator(p, q))
    for seed in range(5):
        other = torch.rand(p.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        assert bool((discriminator_value(p, q, other) < best).all())


def test_outcomes_that_do_not_happen_do_not_count():
    p, q = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0])
    judged = optimal_discriminator(p, q)
    assert bool(judged[2].isnan())
    assert float(discriminator_value(p, q, judged)) == 0


def test_what_is_no_distribution_is_refused():
    with pytest.raises(InputError, match="fake must sum to 1"):
        optimal_discriminator(torch.tensor([1.0]), torch.tensor([2.0]))
