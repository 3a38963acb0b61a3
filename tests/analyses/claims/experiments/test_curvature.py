"""Newton's method against descent: the curvature against autograd, the end against its slope, and the claims."""

import math

import pytest
import torch
import torch.nn.functional as F

from analyses.claims.experiments import optimiser_memory
from analyses.claims.experiments.curvature import RIDGE, hessian, minimise, newton_on_quadratics
from tests.claims_run import not_holding


def some_images(n=40, d=5):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(n, d, generator=generator, dtype=torch.float64)
    return images, torch.randint(10, (n,), generator=generator)


def test_the_curvature_of_logistic_regression_is_what_autograd_finds():
    images, labels = some_images()
    W = torch.randn(5, 10, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def loss(flat):
        weights = flat.view(5, 10)
        return F.cross_entropy(images @ weights, labels) + RIDGE * weights.square().sum() / 2

    expected = torch.autograd.functional.hessian(loss, W.flatten())
    assert torch.allclose(hessian(images, W), expected, atol=1e-12)


def test_both_ways_go_down_to_the_same_loss_and_newton_in_fewer_steps():
    images, labels = some_images()
    newton = minimise(images, labels, True, 30, -math.inf)
    plain = minimise(images, labels, False, 3000, newton[-1])
    assert plain == sorted(plain, reverse=True)
    assert newton[0] == plain[0] == pytest.approx(math.log(10))
    assert 0 <= plain[-1] - newton[-1] <= 1e-6
    assert len(minimise(images, labels, True, 30, newton[-1])) < len(plain) / 10


def test_newton_solves_every_quadratic_in_one_step():
    row = newton_on_quadratics(0, "cpu", 1.0)
    assert row["steps, newton"] == [1.0] * 4
    assert row["steps, plain"][-1] > 25 * row["steps, plain"][0]


def test_the_identity_about_memory_holds():
    assert not_holding(optimiser_memory.CLAIMS) == []


def test_adam_keeps_a_step_count_for_each_of_its_tensors_besides():
    row = optimiser_memory.counted(0, "cpu", 1.0)
    n = 64 * 16 + 16 + 16 * 10 + 10
    assert row["SGD, bytes for each byte of parameters"] == 1
    assert row["Adam, bytes for each byte of parameters"] == pytest.approx(3 + 4 / n)
