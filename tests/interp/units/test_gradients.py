"""Gradient norms against closed forms."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from interp.errors import InputError
from interp.units import gradient_norms
from toy_models.vision import ResNet, ResNetConfig


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def a_chain(*scales):
    """Linear maps of one number, each multiplying by a scale."""
    net = nn.Sequential(*(nn.Linear(1, 1) for _ in scales)).double()
    with torch.no_grad():
        for layer, scale in zip(net, scales, strict=True):
            layer.weight.fill_(scale)
            layer.bias.zero_()
    return net


def summed(output, targets):
    return output.sum()


def test_the_gradient_of_a_chain_is_the_product_of_the_other_scales():
    inputs = torch.ones(6, 1, dtype=torch.float64)
    found = gradient_norms(a_chain(2.0, 3.0, 5.0), inputs, inputs, summed, batch_size=2)
    assert found.names == ("0", "1", "2")
    assert found.norms.mean.tolist() == pytest.approx([2 * 15, 2 * 10, 2 * 6])
    assert found.relative.mean.tolist() == pytest.approx([15, 20 / 3, 12 / 5])
    assert found.first_to_last.mean == pytest.approx(5 / 2)
    assert found.norms.n == 3
    assert found.norms.low.tolist() == found.norms.high.tolist(), "all minibatches are the same"


def test_norms_equal_those_of_backward_and_leave_the_model_alone():
    net = ResNet(ResNetConfig(widths=(2, 3, 4), depth=8), seeded()).train()
    images, labels = torch.rand(8, 1, 8, 8, generator=seeded(1)), torch.arange(8) % 10
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    found = gradient_norms(net, images, labels, F.cross_entropy, batch_size=4)
    assert all(torch.equal(tensor, net.state_dict()[name]) for name, tensor in before.items())
    assert all(parameter.grad is None for parameter in net.parameters())
    norms = []
    for part in (slice(0, 4), slice(4, 8)):
        net.zero_grad()
        F.cross_entropy(net(images[part]), labels[part]).backward()
        norms.append(net.blocks[0].layers[1].conv.weight.grad.norm().item())
    index = found.names.index("blocks.0.layers.1.conv")
    assert float(found.norms.mean[index]) == pytest.approx(sum(norms) / 2, rel=1e-5)


def test_a_chain_whose_last_layer_gets_no_gradient_has_no_ratio():
    found = gradient_norms(a_chain(2.0, 3.0), torch.zeros(4, 1).double(), torch.zeros(4), summed, batch_size=2)
    assert found.first_to_last.mean != found.first_to_last.mean
    assert "undefined" in found.first_to_last.method


@pytest.mark.parametrize(
    ("n", "targets", "size", "message"),
    [
        (4, 3, 2, "inputs and targets must be as many, got 4 and 3"),
        (3, 3, 2, "an interval needs two minibatches of 2, got 3 inputs"),
        (3, 3, 0, "an interval needs two minibatches of 0"),
    ],
)
def test_bad_input_is_one_clear_line(n, targets, size, message):
    with pytest.raises(InputError, match=message):
        gradient_norms(a_chain(1.0), torch.ones(n, 1).double(), torch.ones(targets), summed, batch_size=size)


def test_gradients_that_are_not_finite_are_named():
    inputs = torch.ones(4, 1, dtype=torch.float64)
    with pytest.raises(InputError, match="gradients of 0 are not finite"):
        gradient_norms(a_chain(1.0, 1.0), inputs, inputs, lambda y, t: (y * float("inf")).sum(), batch_size=2)
    with pytest.raises(InputError, match="no weights of two or more dimensions"):
        gradient_norms(nn.ReLU(), inputs, inputs, summed, batch_size=2)
