"""Descent on quadratics: eigenvalues as asked, updates as torch makes them, and the claims about them."""

import pytest
import torch

from analyses.claims.experiments import gradient_flow, momentum
from analyses.claims.experiments.momentum import rates, steps_needed
from analyses.claims.experiments.quadratics import descend, quadratic, spread, steps_until
from analyses.claims.running import run_claim
from tests.claims_run import not_holding


def test_the_identities_about_descent_and_momentum_hold():
    assert not_holding([*gradient_flow.CLAIMS, *(c for c in momentum.CLAIMS if not c.trained)]) == []


def test_momentum_holds_on_the_condition_that_the_loss_is_ill_conditioned():
    (claim,) = (c for c in momentum.CLAIMS if c.trained)
    verdict = run_claim(claim).verdict
    assert str(verdict) == "holds with a condition: holds for condition number 100; not for condition number 2"


def test_a_quadratic_has_the_eigenvalues_asked_for_and_a_start_of_length_one_equally_far_along_each():
    H, start = quadratic([1.0, 3.0, 7.0], torch.Generator().manual_seed(0))
    values, axes = torch.linalg.eigh(H)
    assert values.tolist() == pytest.approx([1, 3, 7])
    assert (axes.T @ start).abs().tolist() == pytest.approx([3**-0.5] * 3)
    assert spread(100.0, 3) == pytest.approx([1, 10, 100])


def test_descent_takes_the_steps_that_torch_takes():
    H, start = quadratic(spread(10.0, 4), torch.Generator().manual_seed(0))
    x = start.clone().requires_grad_()
    optimizer = torch.optim.SGD([x], lr=0.05, momentum=0.8)
    sizes = [float(x.detach().norm())]
    for _ in range(10):
        x.grad = H @ x.detach()
        optimizer.step()
        sizes.append(float(x.detach().norm()))
    assert descend(H, start, 0.05, 10, momentum=0.8) == pytest.approx(sizes)


def test_one_direction_shrinks_by_one_less_rate_times_curvature():
    H = torch.tensor([[4.0]], dtype=torch.float64)
    assert descend(H, torch.ones(1, dtype=torch.float64), 0.1, 3) == pytest.approx([1, 0.6, 0.36, 0.216])


def test_the_first_step_within_the_tolerance_counts():
    assert steps_until([1.0, 0.5, 0.1, 0.5], 0.1) == 2
    assert steps_until([1.0, 0.5], 0.1) == 2


def test_the_best_rates_are_those_of_polyak():
    (rate, none), (heavy, memory) = rates(9.0)
    assert (rate, none) == (0.2, 0)
    assert heavy == pytest.approx(4 / (3 + 1) ** 2)
    assert memory == pytest.approx(0.25)


def test_a_curve_is_drawn_from_the_start_to_the_tolerance():
    row = steps_needed(0, "cpu", 1.0, momentum=True)
    assert row["step"][0] == 0
    assert row["size"][0] == pytest.approx(1)
    assert row["step"][-1] == row["steps"]
    assert row["size"][-1] <= 1e-8 < row["size"][-2]
