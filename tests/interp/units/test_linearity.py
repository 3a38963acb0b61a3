"""Held-out R² of affine maps: 1 for affine layers, the closed form for a rectifier, 0 for what only looks alike."""

import math

import pytest
import torch
from torch import nn

from interp.errors import InputError
from interp.units import effective_linearity
from interp.units.linearity import RIDGES


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


def test_the_input_itself_can_be_the_source():
    net, x = net_of(nn.Linear(3, 5)), gaussians()
    named, given = (effective_linearity(net, x, source, "1", seeded()) for source in ("0", None))
    assert given.source == "input"
    assert given.r2.mean == pytest.approx(named.r2.mean, abs=1e-12)


def test_a_ridge_by_more_numbers_than_inputs_is_the_one_by_fewer():
    """(x'x + r)^-1 x' = x' (xx' + r)^-1: the fit of 6 inputs to 3 numbers, repeated to 9 that add nothing."""
    net, x = net_of(nn.Linear(3, 2)), gaussians(12)
    wide = nn.Sequential(nn.Unflatten(1, (3, 3)), nn.Flatten(), nn.Linear(9, 2)).double().eval()
    with torch.no_grad():
        wide[2].weight.copy_(net[1].weight.repeat(1, 3) / 3)
        wide[2].bias.copy_(net[1].bias)
    narrow = effective_linearity(net, x, None, "1", seeded(), ridge=1.0).r2.mean
    assert effective_linearity(wide, x.repeat(1, 3), None, "2", seeded(), ridge=3.0).r2.mean == pytest.approx(narrow)


def test_the_ridge_that_is_chosen_is_the_one_that_predicts_each_fitted_input_best_from_the_others():
    x, noise = gaussians(60, 20), 4 * torch.randn(60, 2, generator=seeded(5), dtype=torch.float64)
    noisy = Noisy(nn.Linear(20, 2).double(), noise)
    fit = torch.randperm(60, generator=seeded())[:30]
    y = noisy(x).detach()
    scale = float((x[fit] - x[fit].mean(0)).square().sum()) / 20

    def missed(ridge):
        """Each fitted input predicted by a fit to the others, one by one (around the mean of all)."""
        errors, centred = 0.0, x[fit] - x[fit].mean(0)
        for i in range(30):
            rest = [j for j in range(30) if j != i]
            a = torch.cat([centred[rest], torch.ones(29, 1, dtype=torch.float64)], dim=1)
            pull = ridge * torch.diag(torch.tensor([1.0] * 20 + [0.0], dtype=torch.float64))
            A = torch.linalg.solve(a.T @ a + pull, a.T @ y[fit][rest])
            errors += float((y[fit][i] - centred[i] @ A[:-1] - A[-1]).square().sum())
        return errors

    best = min(RIDGES, key=lambda ridge: missed(ridge * scale))
    found = effective_linearity(noisy, x, None, "out", seeded(), ridge=None)
    assert found.ridge == pytest.approx(best * scale)
    assert found.r2.mean > effective_linearity(noisy, x, None, "out", seeded()).r2.mean


class Noisy(nn.Module):
    """A linear map, and to each of these inputs a fixed number that no map of it can know."""

    def __init__(self, linear, noise):
        super().__init__()
        self.linear, self.noise, self.out = linear, noise, nn.Identity()
        self.eval()

    def forward(self, x):
        return self.out(self.linear(x) + self.noise[: len(x)])


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
