"""Counts of weights and products against closed forms and against torch's own counter of operations."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from interp.errors import InputError
from interp.units import model_cost
from toy_models.vision import ResNet, ResNetConfig


def images(n=1):
    return torch.zeros(n, 1, 8, 8)


def test_a_convolution_costs_its_weights_times_the_pixels_it_gives_out():
    conv = nn.Conv2d(3, 5, 3, stride=2, padding=1)
    found = model_cost(nn.Sequential(conv, nn.Flatten(), nn.Linear(5 * 16, 7)), torch.zeros(2, 3, 8, 8))
    assert found.names == ("0", "2")
    assert found.weights == (3 * 5 * 9, 80 * 7)
    assert found.multiply_adds == (3 * 5 * 9 * 16, 80 * 7)
    assert found.parameters == 3 * 5 * 9 + 5 + 80 * 7 + 7
    assert found.total_multiply_adds == 3 * 5 * 9 * 16 + 80 * 7


def test_groups_share_no_weights():
    assert model_cost(nn.Conv2d(4, 6, 3, groups=2), torch.zeros(1, 4, 3, 3)).multiply_adds == (4 * 6 * 9 // 2,)


def test_a_linear_map_multiplies_once_for_every_vector():
    assert model_cost(nn.Linear(3, 2), torch.zeros(4, 7, 3)).multiply_adds == (7 * 3 * 2,)


def test_a_map_that_runs_twice_costs_twice_and_learns_once():
    linear = nn.Linear(3, 3)
    found = model_cost(nn.Sequential(linear, nn.ReLU(), linear), torch.zeros(1, 3))
    assert (found.weights, found.multiply_adds, found.parameters) == ((9,), (18,), 12)


@pytest.mark.parametrize("options", [{}, {"residual": False}, {"shortcut": "C"}, {"block": "bottleneck", "depth": 11}])
def test_products_are_half_of_the_operations_that_torch_counts(options):
    net = ResNet(ResNetConfig(**{"widths": (3, 4, 5), "depth": 8} | options)).eval()
    with FlopCounterMode(display=False) as counter:
        net(images(3))
    assert 2 * 3 * model_cost(net, images(3)).total_multiply_adds == counter.get_total_flops()


def test_counting_leaves_the_model_as_it_was():
    net = ResNet(ResNetConfig(widths=(2, 3, 4), depth=8)).train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    model_cost(net, torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
    assert all(torch.equal(tensor, net.state_dict()[name]) for name, tensor in before.items())
    assert not any(module._forward_hooks for module in net.modules())


def test_nothing_to_count_is_one_clear_line():
    with pytest.raises(InputError, match="nothing to count"):
        model_cost(nn.ReLU(), torch.zeros(1, 2))
    with pytest.raises(InputError, match="at least one input"):
        model_cost(nn.Linear(2, 2), torch.zeros(0, 2))
