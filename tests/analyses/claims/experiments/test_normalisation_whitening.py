"""Whitening against its definition, descent against its theory, and the claims that need little time."""

import math

import pytest
import torch

from analyses.claims.experiments.normalisation_whitening import (
    CLAIMS,
    FORMS,
    correlations,
    descent,
    inked,
    slowest_rate,
    standardised,
    what_is_left,
    zca,
)
from tests.claims_run import not_holding


def correlated(n=200, d=5):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return x @ torch.randn(d, d, generator=generator, dtype=torch.float64) + 3


def test_exact_claims_hold():
    assert not_holding([claim for claim in CLAIMS if not claim.trained], seeds=(4,)) == []


def test_whitened_values_have_the_identity_as_covariance_and_stay_nearest_to_the_centred_ones():
    x = correlated()
    white = zca(x)
    assert torch.allclose(white.T @ white / len(x), torch.eye(5).double(), atol=1e-10)
    centred = x - x.mean(0)
    crossed = centred.T @ white / len(x)  # symmetric for the rotation that stays nearest
    assert torch.allclose(crossed, crossed.T, atol=1e-10)
    assert bool((torch.linalg.eigvalsh(crossed) > 0).all())


def test_the_gradient_through_whitening_is_that_of_differences():
    x = correlated(12, 3).requires_grad_()
    assert torch.autograd.gradcheck(zca, (x,))


def test_standardising_keeps_every_correlation():
    x = correlated()
    assert torch.allclose(correlations(standardised(x)), correlations(x))
    found = what_is_left(0, "cpu", 1.0)
    assert found["largest, standardised"] == pytest.approx(float(correlations(inked(0)[0]).abs().max()))


def test_whitened_inputs_need_one_step_and_standardised_ones_what_their_condition_number_allows():
    white, standard = (descent(1, "cpu", 1.0, form) for form in ("whitened", "standardised"))
    assert white["condition"] == pytest.approx(1)
    assert white["steps"] == 1
    k = standard["condition"]
    most = math.log(0.01) / (2 * math.log((k - 1) / (k + 1)))  # the loss shrinks by the square of the error's rate
    assert 1 < standard["steps"] <= math.ceil(most)


def test_all_forms_of_the_pixels_have_the_same_best_loss():
    pixels, labels = inked(2)
    y = torch.nn.functional.one_hot(labels, 10).double()
    lowest = []
    for form in FORMS.values():
        x = torch.cat([form(pixels), torch.ones(len(pixels), 1).double()], 1)
        lowest.append(float((x @ torch.linalg.lstsq(x, y).solution - y).square().sum()))
    assert lowest == pytest.approx([lowest[0]] * 4, rel=1e-8)


def test_the_slowest_rate_is_the_theorys_to_the_last_digits():
    assert slowest_rate(2, "cpu", 1.0)["error"] < 1e-12
