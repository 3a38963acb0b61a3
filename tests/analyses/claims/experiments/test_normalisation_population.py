"""Statistics of batches, scales of weights, places of filters, and minibatches, where the answer is known."""

import pytest
import torch

from analyses.claims.experiments import normalisation_batches, normalisation_population
from analyses.claims.experiments.normalisation_batches import gradients
from analyses.claims.experiments.normalisation_population import (
    filters,
    output_and_gradient,
    scales,
    train_and_eval,
    variation,
)
from tests.claims_run import not_holding


def test_exact_claims_hold_with_another_seed():
    assert not_holding([c for c in normalisation_population.CLAIMS if not c.trained], seeds=(6,)) == []


def test_without_normalisation_a_scale_goes_straight_to_the_output():
    generator = torch.Generator().manual_seed(0)
    x, up, weight = (torch.randn(8, 8, generator=generator, dtype=torch.float64) for _ in range(3))
    a = torch.arange(1.0, 9.0, dtype=torch.float64)[:, None]
    (first, grad), (second, same) = (output_and_gradient("none", w, x, up) for w in (weight, a * weight))
    assert torch.allclose(second, first * a.T)
    assert torch.allclose(same, grad)
    assert scales(1, "cpu", 1.0)["none output"] > 1


def test_layer_norm_ignores_a_scale_that_all_units_share_and_none_of_their_own():
    generator = torch.Generator().manual_seed(0)
    x, up, weight = (torch.randn(8, 8, generator=generator, dtype=torch.float64) for _ in range(3))
    (first, grad), (second, scaled) = (output_and_gradient("layer", w, x, up) for w in (weight, 3 * weight))
    assert torch.allclose(second, first)
    assert torch.allclose(3 * scaled, grad)
    found = scales(1, "cpu", 1.0)
    assert found["layer output"] > 0.1 > found["batch output"]


def test_normalising_pixel_by_pixel_is_what_the_ramp_across_the_image_gives_away():
    found = filters(2, "cpu", 1.0)
    assert found["shift"] == 0
    assert found["shift, pixel by pixel"] > 0.1
    assert found["pixel by pixel"] > 1


def test_total_variation_is_one_between_certainties_that_differ():
    p = torch.eye(3)
    assert variation(p, p) == 0
    assert variation(p, p.roll(1, 0)) == 1
    assert variation(torch.tensor([[0.5, 0.5]]), torch.tensor([[1.0, 0.0]])) == pytest.approx(0.5)


def test_layer_norm_says_the_same_in_both_modes_and_batch_norm_does_not():
    layer, batch = (train_and_eval(0, "cpu", 0.05, norm) for norm in ("layer", "batch"))
    assert max(layer["gap"]) < 1e-6
    assert batch["gap, 2"] > batch["gap, 128"] > 0
    assert layer["running against population"] < 1e-6


def test_larger_batches_point_nearer_to_the_full_gradient():
    found = gradients(0, "cpu", 0.05)
    assert found["cosine"] == sorted(found["cosine"])
    assert found["cosine, 256"] > 0.8


@pytest.mark.parametrize("batch, updates", [(64, 23), (1, 1472)])
def test_a_pass_sees_as_many_examples_in_batches_of_any_size(monkeypatch, batch, updates):
    made = []

    def not_trained(model, data, *, steps, lr, batch, seed):
        made.append((steps, batch, lr))
        return model.eval()

    monkeypatch.setattr(normalisation_batches, "fit", not_trained)
    normalisation_batches.one_pass(0, "cpu", 1.0, batch)
    assert made == [(updates, batch, lr) for lr in normalisation_batches.RATES[batch]]
