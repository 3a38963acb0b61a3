"""Identities of BatchNorm and LayerNorm: the claims hold, and their numbers are those of closed forms."""

import pytest
import torch

from analyses.claims.experiments import normalisation_identities
from analyses.claims.experiments.normalisation_identities import (
    bias_outside_the_gradient,
    constant_channel,
    held_scale,
    one_example,
    sigmoid_line,
    superposition_error,
    undone,
)
from interp.units import effective_linearity
from tests.claims_run import not_holding
from toy_models.mlp import MLP
from toy_models.vector_config import MLPConfig


def test_every_identity_holds_with_other_seeds():
    assert not_holding(normalisation_identities.CLAIMS, seeds=(3, 4)) == []


def test_a_bias_that_the_gradient_does_not_know_moves_by_rate_times_the_targets_mean_each_step():
    found = bias_outside_the_gradient(0, "cpu", 1.0)
    assert found["blind bias"] == pytest.approx(200 * 0.4 * 1.0)
    assert found["blind change of loss"] == pytest.approx(0, abs=1e-12)
    assert found["aware bias"] == pytest.approx(0, abs=1e-12)


def test_as_it_starts_batch_norm_moves_its_input_by_what_centring_and_scaling_do():
    x = 3 * normalisation_identities.normals(0, 32, 8) + 5
    expected = (x - (x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt()).abs().max()
    assert undone(0, "cpu", 1.0)["as it starts"] == pytest.approx(float(expected))


def test_a_sigmoid_of_small_inputs_is_a_line_and_of_large_ones_a_step():
    step = 1 - 2 / torch.pi  # of sign(x): cov(x, sign)² / (var x var sign) = E|x|² = 2 / pi
    assert sigmoid_line(1e-3) == pytest.approx(0, abs=1e-6)
    assert sigmoid_line(1e4) == pytest.approx(step, abs=1e-3)
    assert sigmoid_line(1.0) < sigmoid_line(3.0) < step


def test_what_a_line_misses_of_a_sigmoid_is_what_regression_on_samples_misses():
    model = MLP(MLPConfig(d_in=1, widths=(1,), activation="sigmoid")).eval()
    with torch.no_grad():
        model.blocks[0].linear.weight.fill_(1.0)
        model.blocks[0].linear.bias.zero_()
    x = 3 * torch.randn(4000, 1, generator=torch.Generator().manual_seed(1))
    found = effective_linearity(
        model, x, "blocks.0.hook_pre", "blocks.0.hook_post", torch.Generator().manual_seed(2), shuffles=2
    )
    assert 1 - found.r2.high <= sigmoid_line(3.0) <= 1 - found.r2.low


def test_without_epsilon_the_constant_unit_is_lost_in_output_and_gradient_and_no_other():
    assert constant_channel(0, "cpu", 1.0) == {"with epsilon": 0.0, "without": 1 / 8}


def test_layer_norm_knows_its_example_alone():
    found = one_example(1, "cpu", 1.0)
    assert found["layer change"] == found["batch change in evaluation"] == 0
    assert found["batch change"] > 0.1
    assert found["layer mean"] < 1e-12 < found["batch mean"]


def test_superposition_fails_by_the_cross_term_of_a_square_and_not_for_affine_maps():
    class Square(torch.nn.Module):
        def forward(self, x):
            return x.square() + 3 * x + 7

    a, b = torch.tensor([[2.0]]), torch.tensor([[-5.0]])
    assert superposition_error(Square(), a, b) == pytest.approx(20.0)
    assert superposition_error(torch.nn.Linear(1, 2), a, b) == pytest.approx(0, abs=1e-5)
    assert held_scale(5, "cpu", 1.0)["held"] < 1e-12
