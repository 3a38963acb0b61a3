"""Divergences against closed forms, the identities that tie them together, and sums written out."""

import math

import pytest
import torch

from interp.errors import InputError
from interp.stats import cross_entropy, divergence, entropy, gaussian_kl


def drawn(n=50, outcomes=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, outcomes, generator=generator, dtype=torch.float64).softmax(-1)


def test_two_coins_have_the_divergences_of_their_formulas():
    p, q = torch.tensor([0.75, 0.25]), torch.tensor([0.5, 0.5])
    forward = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert float(divergence(p, q)) == pytest.approx(forward)
    assert float(divergence(p, q, "reverse kl")) == pytest.approx(0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(2))
    assert float(divergence(p, q, "total variation")) == pytest.approx(0.25)
    half = 0.75 * math.log(0.75 / 0.625) + 0.25 * math.log(0.25 / 0.375)
    other = 0.5 * math.log(0.5 / 0.625) + 0.5 * math.log(0.5 / 0.375)
    assert float(divergence(p, q, "jensen-shannon")) == pytest.approx((half + other) / 2, rel=1e-5)


def test_what_q_misses_is_infinitely_far_by_kl_and_log_2_by_jensen_shannon():
    p, q = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    assert float(divergence(p, q)) == math.inf
    assert float(divergence(p, q, "jensen-shannon")) == pytest.approx(math.log(2))
    assert float(divergence(p, q, "total variation")) == 1
    assert float(divergence(p, p)) == 0


def test_cross_entropy_is_entropy_plus_kl():
    p, q = drawn(seed=0), drawn(seed=1)
    assert torch.allclose(cross_entropy(p, q), entropy(p) + divergence(p, q), atol=1e-12)
    assert float(entropy(torch.full((8,), 0.125))) == pytest.approx(math.log(8))
    assert float(entropy(torch.tensor([1.0, 0.0]))) == 0


def test_reversing_the_arguments_is_reversing_the_kind():
    p, q = drawn(seed=0), drawn(seed=1)
    assert torch.equal(divergence(p, q, "reverse kl"), divergence(q, p))
    for symmetric in ("jensen-shannon", "total variation"):
        assert torch.allclose(divergence(p, q, symmetric), divergence(q, p, symmetric), atol=1e-15)


def test_one_distribution_is_compared_with_each_of_many():
    p, q = drawn(1)[0], drawn(5, seed=1)
    assert torch.equal(divergence(p, q), torch.stack([divergence(p, each) for each in q]))


def test_normals_are_as_far_apart_as_the_integral_says():
    x = torch.linspace(-30, 30, 60001, dtype=torch.float64)
    m, s, n, t = (torch.tensor([v], dtype=torch.float64) for v in (0.5, 0.8, -0.3, 1.7))
    log_p = -((x - m) ** 2) / (2 * s**2) - s.log()
    log_q = -((x - n) ** 2) / (2 * t**2) - t.log()
    density = log_p.exp() / math.sqrt(2 * math.pi)
    integral = float(torch.trapezoid(density * (log_p - log_q), x))
    assert float(gaussian_kl(m, s, n, t)) == pytest.approx(integral, abs=1e-9)


def test_independent_normals_add_up():
    draws = [torch.rand(3, 4, generator=torch.Generator().manual_seed(i)) + 0.1 for i in range(4)]
    each = torch.stack([gaussian_kl(*(d[:, i : i + 1] for d in draws)) for i in range(4)])
    assert torch.allclose(gaussian_kl(*draws), each.sum(0), atol=1e-5)
    assert torch.equal(gaussian_kl(draws[0], draws[1], draws[0], draws[1]), torch.zeros(3))


def test_what_is_no_distribution_is_refused_by_name():
    good = torch.tensor([0.5, 0.5])
    with pytest.raises(InputError, match=r"q must be probabilities, 0 or above, got -0\.5"):
        divergence(good, torch.tensor([1.5, -0.5]))
    with pytest.raises(InputError, match=r"p must sum to 1 over its last axis, is off by up to 0\.5"):
        divergence(torch.tensor([1.0, 0.5]), good)
    with pytest.raises(InputError, match="p must be probabilities"):
        entropy(torch.tensor([math.nan, 1.0]))
    with pytest.raises(InputError, match=r"standard deviations must be above 0, got 0"):
        gaussian_kl(good, torch.zeros(2), good, good)
