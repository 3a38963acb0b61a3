"""Scatter of minibatch gradients: exact small cases, the law of batch sizes, and biases that were put in."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from interp.errors import InputError
from interp.units import flat_gradient, gradient_noise, minibatch_gradients


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def a_model(norm=False):
    torch.manual_seed(0)
    layers = [nn.Linear(4, 5), nn.BatchNorm1d(5)] if norm else [nn.Linear(4, 5)]
    return nn.Sequential(*layers, nn.Tanh(), nn.Linear(5, 3)).double()


def data(n=64):
    x = torch.randn(n, 4, generator=seeded(1), dtype=torch.float64)
    return x, torch.randint(3, (n,), generator=seeded(2))


def test_the_flat_gradient_is_what_backward_leaves_end_to_end():
    model, (x, y) = a_model(), data()
    found = flat_gradient(model, x, y, F.cross_entropy)
    assert all(p.grad is None for p in model.parameters())
    F.cross_entropy(model(x), y).backward()
    assert torch.allclose(found, torch.cat([p.grad.flatten() for p in model.parameters()]), atol=1e-14)


def test_a_parameter_that_the_loss_does_not_use_has_gradient_zero():
    model = a_model()
    model.register_parameter("idle", nn.Parameter(torch.ones(2, dtype=torch.float64)))
    assert flat_gradient(model, *data(), F.cross_entropy).tolist()[:2] == [0, 0]


def test_single_examples_average_to_the_full_gradient_and_buffers_stay():
    model, (x, y) = a_model(norm=True), data()
    full = flat_gradient(model.eval(), x, y, F.cross_entropy)
    each = minibatch_gradients(model, x, y, F.cross_entropy, torch.arange(64)[:, None])
    assert torch.allclose(each.mean(0), full, atol=1e-14)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    minibatch_gradients(model.train(), x, y, F.cross_entropy, torch.arange(64).view(4, 16))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_total_variance_and_cosine_of_three_gradients_by_hand():
    full = torch.tensor([1.0, 0.0])
    found = gradient_noise(torch.tensor([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]]), full)
    assert found.total_variance == pytest.approx(((2 - 1 / 3) ** 2 + (1 / 3) ** 2 + (4 / 3) ** 2 + 1 + 4 + 1) / 2)
    assert found.cosine.mean == pytest.approx(0)
    assert found.n == 3


def test_variance_falls_as_one_over_the_batch_and_there_is_no_bias():
    model, (x, y) = a_model(), data()
    full = flat_gradient(model, x, y, F.cross_entropy)
    single = minibatch_gradients(model, x, y, F.cross_entropy, torch.arange(64)[:, None])
    true = float((single - full).square().sum(1).mean())
    for batch in (1, 8):
        drawn = torch.randint(64, (600, batch), generator=seeded(3))
        found = gradient_noise(minibatch_gradients(model, x, y, F.cross_entropy, drawn), full)
        assert found.total_variance == pytest.approx(true / batch, rel=0.15)
        assert abs(found.bias_z) < 4


def test_bias_z_is_standard_for_normal_gradients_without_bias_and_grows_with_it():
    scales = torch.tensor([3.0, 1.0, 1.0, 0.5], dtype=torch.float64)
    full = torch.ones(4, dtype=torch.float64)
    draws = torch.randn(400, 100, 4, generator=seeded(4), dtype=torch.float64) * scales + full
    z = torch.tensor([gradient_noise(each, full).bias_z for each in draws])
    assert float(z.mean()) == pytest.approx(0, abs=0.2)
    assert float(z.std()) == pytest.approx(1, abs=0.25)
    moved = draws[0] + torch.tensor([0.0, 1.0, 0.0, 0.0])
    expected = 100 * 1.0 / (2 * float(scales.pow(4).sum())) ** 0.5  # n |bias|² / sqrt(2 tr S²)
    assert gradient_noise(moved, full).bias_z == pytest.approx(expected, rel=0.4)


def test_what_cannot_scatter_is_refused():
    full = torch.zeros(2)
    with pytest.raises(InputError, match="needs three minibatches, got 2"):
        gradient_noise(torch.zeros(2, 2), full)
    with pytest.raises(InputError, match="all 4 gradients are equal"):
        gradient_noise(torch.ones(4, 2), full)
    with pytest.raises(InputError, match="must be finite"):
        gradient_noise(torch.full((4, 2), float("nan")), full)
    with pytest.raises(InputError, match="inputs 0 to 63, got 64"):
        minibatch_gradients(a_model(), *data(), F.cross_entropy, torch.tensor([[64]]))
