"""Held-out R² of affine maps: 1 for affine layers, the closed form for a rectifier, 0 for what only looks alike."""

import math

import pytest
import torch
from torch import nn

from interp.errors import InputError
from interp.units import effective_linearity


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def net_of(*layers):
    return nn.Sequential(nn.Identity(), *layers).double().eval()


def gaussians(n=400, d=3):
    return torch.randn(n, d, generator=seeded(1), dtype=torch.float64)


def test_an_affine_layer_is_linear_to_rounding_error():
    net = net_of(nn.Linear(3, 5))
    found = effective_linearity(net, gaussians(), "0", "1", seeded())
    assert found.r2.mean == pytest.approx(1, abs=1e-12)
    assert -0.1 < found.shuffled.mean < 0
    assert found.shuffled.maximum < 0.05
    assert (found.fitted, found.d_source, found.d_target) == (200, 3, 5)


def test_a_rectifier_of_a_centred_gaussian_has_the_r2_of_its_closed_form():
    """relu(x) = x/2 + |x|/2: a line explains 1/4 of E relu² - (E relu)² = 1/2 - 1/(2 pi)."""
    found = effective_linearity(net_of(nn.ReLU()), gaussians(20_000, 1), "0", "1", seeded())
    assert found.r2.low < 0.25 / (0.5 - 1 / (2 * math.pi)) < found.r2.high
    assert found.r2.high - found.r2.low < 0.03


def test_a_map_that_only_memorises_is_found_out_on_held_out_inputs():
    net = net_of(nn.Linear(30, 4))
    noise = torch.randn(70, 30, generator=seeded(3), dtype=torch.float64)
    found = effective_linearity(net, noise, "0", "1", seeded())
    assert found.r2.mean > 0.999
    assert found.shuffled.mean < -0.5


def test_constant_and_repeated_numbers_of_the_source_do_no_harm():
    x = gaussians()
    x[:, 1] = 7
    assert effective_linearity(net_of(nn.Linear(3, 2)), x, "0", "1", seeded()).r2.mean == pytest.approx(1, abs=1e-9)
    x[:, 1] = x[:, 0] / 3 + x[:, 2] / 7
    assert effective_linearity(net_of(nn.Linear(3, 2)), x, "0", "1", seeded()).r2.mean == pytest.approx(1, abs=1e-9)


def test_a_ridge_shrinks_the_map_towards_the_mean():
    net, x = net_of(nn.Linear(3, 2)), gaussians()
    mild, strong = (effective_linearity(net, x, "0", "1", seeded(), ridge=r).r2.mean for r in (1e-6, 1e9))
    assert mild > 0.9999
    assert abs(strong) < 0.02


@pytest.mark.parametrize(
    ("n", "source", "target", "message"),
    [
        (8, "0", "1", "0 has 3 numbers, more than the 4 inputs to fit to determine: give more inputs, or ridge="),
        (3, "0", "1", "needs at least 4 inputs, got 3"),
        (40, "?", "1", r"'\?' means 2 points"),
        (40, "0", "7", "'7' is not in this model"),
    ],
)
def test_bad_input_is_one_clear_line(n, source, target, message):
    with pytest.raises(InputError, match=message):
        effective_linearity(net_of(nn.Linear(3, 2)), gaussians(n), source, target, seeded())


def test_a_target_that_does_not_vary_is_said():
    net = net_of(nn.Linear(3, 2))
    nn.init.zeros_(net[1].weight)
    with pytest.raises(InputError, match="the same for all inputs"):
        effective_linearity(net, gaussians(), "0", "1", seeded())
