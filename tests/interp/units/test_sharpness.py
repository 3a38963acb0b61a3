"""The largest curvature against Hessians that are known, and against the whole Hessian of a small net."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from interp.errors import InputError
from interp.units import sharpness


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_least_squares_bends_by_the_largest_eigenvalue_of_its_covariance():
    x = torch.randn(50, 4, generator=seeded(), dtype=torch.float64)
    model = nn.Linear(4, 1, bias=False).double()
    found = sharpness(model, x, torch.zeros(50, 1).double(), F.mse_loss, seeded(1), tolerance=1e-9, steps=500)
    expected = float(torch.linalg.eigvalsh(2 * x.T @ x / 50)[-1])
    assert found.value == pytest.approx(expected, rel=1e-9)
    assert found.residual <= 1e-9 * expected


def test_a_small_net_bends_by_the_largest_eigenvalue_of_its_whole_hessian():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    x, y = torch.randn(20, 3, generator=seeded(), dtype=torch.float64), torch.randint(2, (20,), generator=seeded(1))
    named = dict(model.named_parameters())
    flat = torch.cat([p.detach().flatten() for p in named.values()])

    def loss_at(values):
        parts = values.split([p.numel() for p in named.values()])
        shaped = {name: part.view(p.shape) for (name, p), part in zip(named.items(), parts, strict=True)}
        return F.cross_entropy(torch.func.functional_call(model, shaped, (x,)), y)

    eigenvalues = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss_at, flat))
    expected = float(eigenvalues[eigenvalues.abs().argmax()])
    found = sharpness(model, x, y, F.cross_entropy, seeded(2), tolerance=1e-8, steps=2000)
    assert found.value == pytest.approx(expected, rel=1e-7)
    assert all(p.grad is None for p in model.parameters())


def test_it_stops_at_its_tolerance_and_after_its_steps():
    x = torch.diag(torch.tensor([3.0, 1.0])).double()
    model = nn.Linear(2, 1, bias=False).double()
    asked = (model, x, torch.zeros(2, 1).double(), F.mse_loss)
    assert sharpness(*asked, seeded(), steps=1).steps == 1
    loose, tight = (sharpness(*asked, seeded(), tolerance=t) for t in (1e-1, 1e-10))
    assert loose.steps < tight.steps < 100
    assert tight.residual <= 1e-10 * tight.value < loose.residual


def test_a_loss_that_does_not_bend_or_no_step_is_refused():
    model, x = nn.Linear(2, 1), torch.ones(2, 2)
    with pytest.raises(InputError, match="no curvature"):
        sharpness(model, x, x, lambda out, _: out.sum(), seeded())
    with pytest.raises(InputError, match="at least one step, got 0"):
        sharpness(model, x, x[:, :1], F.mse_loss, seeded(), steps=0)
