"""Drift of layers whose values are moved by a known amount."""

import math

import pytest
import torch
from torch import nn

from interp.errors import InputError
from interp.units import drift, unit_moments
from toy_models.layers import BatchNorm
from toy_models.mlp import MLP
from toy_models.vector_config import MLPConfig


def mlp(norm="none", seed=0):
    return MLP(MLPConfig(d_in=6, widths=(5, 4), norm=norm, activation="tanh"), torch.Generator().manual_seed(seed))


def inputs(n=40):
    return torch.randn(n, 6, generator=torch.Generator().manual_seed(9))


def test_moments_are_those_of_the_values():
    model, x = mlp(), inputs()
    found = unit_moments(model, x, "blocks.0.hook_pre")["blocks.0.hook_pre"]
    with torch.no_grad():
        values = model.blocks[0].linear(x).double()
    assert torch.allclose(found.mean, values.mean(0), atol=1e-6)
    assert torch.allclose(found.var, values.var(0, correction=0), atol=1e-6)


def test_a_model_that_did_not_change_did_not_drift():
    before, after = (unit_moments(mlp(), inputs()) for _ in range(2))
    assert drift(before, after) == {"blocks.0.hook_post": 0.0, "blocks.1.hook_post": 0.0}


def test_drift_is_the_shift_in_standard_deviations_of_the_layer():
    model, x = mlp(), inputs()
    before = unit_moments(model, x, "*hook_pre")
    shift = torch.tensor([3.0, 0.0, 0.0, 0.0, -4.0])
    with torch.no_grad():
        model.blocks[0].linear.bias += shift
    found = drift(before, unit_moments(model, x, "*hook_pre"))
    var = before["blocks.0.hook_pre"].var.sum()
    assert found["blocks.0.hook_pre"] == pytest.approx(5 / math.sqrt(float(var)), rel=1e-5)
    assert found["blocks.1.hook_pre"] > 0


def test_a_batch_norm_takes_a_shift_out_by_its_batch_and_learns_nothing_from_being_watched():
    model, x = mlp("batch").train(), inputs()
    before = unit_moments(model, x)
    with torch.no_grad():
        model.blocks[0].linear.bias += 7
    found = drift(before, unit_moments(model, x))
    assert found["blocks.0.hook_post"] < 1e-5
    assert torch.equal(model.blocks[0].norm.running_mean, torch.zeros(5))
    model.eval()
    still = unit_moments(model, x)
    with torch.no_grad():
        model.blocks[0].linear.bias += 7
    assert drift(still, unit_moments(model, x))["blocks.0.hook_post"] > 0.01


def test_places_of_an_image_count_together():
    norm = BatchNorm(3, "batch unit y x").eval()
    x = torch.randn(4, 3, 2, 5, generator=torch.Generator().manual_seed(1))
    found = unit_moments(nn.Sequential(norm), x, "*hook_normalized")["0.hook_normalized"]
    flat = x.double().transpose(0, 1).flatten(1)
    assert torch.allclose(found.var * (1 + 1e-5), flat.var(1, correction=0), atol=1e-6)


def test_a_constant_layer_drifts_not_at_all_or_infinitely_far():
    model, x = mlp(), torch.zeros(5, 6)
    before = unit_moments(model, x, "blocks.0.hook_pre")
    assert drift(before, before) == {"blocks.0.hook_pre": 0.0}
    with torch.no_grad():
        model.blocks[0].linear.bias += 1
    assert drift(before, unit_moments(model, x, "blocks.0.hook_pre")) == {"blocks.0.hook_pre": math.inf}


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="at least 2 inputs"):
        unit_moments(mlp(), inputs(1))
    with pytest.raises(InputError, match="same points"):
        drift(unit_moments(mlp(), inputs()), {})
