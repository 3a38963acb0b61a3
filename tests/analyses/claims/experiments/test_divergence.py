"""The claims about divergences: each identity holds, and errs when done the wrong way."""

import pytest
import torch

from analyses.claims.experiments.divergence import CLAIMS, cross_entropy_gradient, distance_axioms, gaussian_integral
from interp.stats import divergence
from tests.claims_run import not_holding


def test_the_identity_holds():
    assert not_holding(CLAIMS) == []


def test_a_detour_by_the_middle_is_shorter_by_kl_and_not_by_the_root_of_jensen_shannon():
    p, q = torch.tensor([0.9, 0.1], dtype=torch.float64), torch.tensor([0.1, 0.9], dtype=torch.float64)
    middle = (p + q) / 2
    assert float(divergence(p, middle) + divergence(middle, q)) < float(divergence(p, q))
    row = distance_axioms(0, "cpu", 1.0)
    assert row["kl detour"] > 0.1 > row["jensen-shannon detour"] == 0


def test_the_slope_of_the_cross_entropy_is_softmax_less_label():
    generator = torch.Generator().manual_seed(0)
    p = torch.randn(64, 10, generator=generator, dtype=torch.float64).softmax(-1)
    logits = torch.randn(64, 10, generator=generator, dtype=torch.float64)
    q = logits.softmax(-1)
    kl = divergence(q, p)[:, None]
    reverse = q * ((q / p).log() - kl)  # d KL(Q || P) / d logits
    row = cross_entropy_gradient(0, "cpu", 1.0)
    assert row["wrong way"] == pytest.approx(float((reverse - (q - p)).abs().max()), rel=1e-9)
    assert row["value without the entropy"] == pytest.approx(float(-(p * p.log()).sum()), rel=1e-9)


def test_normals_are_integrated_to_the_last_digits():
    rows = [gaussian_integral(seed, "cpu", 1.0) for seed in range(5)]
    assert all(row["error"] < 1e-12 < 1e-3 < row["reversed"] for row in rows)
