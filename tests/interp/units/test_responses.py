"""Responses of units whose values are known."""

import pytest
import torch
from torch import nn

from interp.errors import InputError
from interp.units import unit_responses
from toy_models.hook_point import HookPoint
from toy_models.vision import ConvNet, ConvNetConfig


class Given(nn.Module):
    """Passes its input on, as values with the axes given."""

    def __init__(self, axes):
        super().__init__()
        self.hook_post = HookPoint(axes)

    def forward(self, x):
        return self.hook_post(x)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def measured(x, axes="batch unit", **options):
    return unit_responses(Given(axes).eval(), x, seeded(), **options)["hook_post"]


def test_means_deviations_and_activity_are_those_of_the_values():
    x = torch.randn(50, 3, 4, 5, generator=seeded(1)) * torch.tensor([1.0, 2.0, 0.1]).view(3, 1, 1) - 0.3
    found, flat = measured(x, "batch unit y x"), x.double().transpose(0, 1).flatten(1)
    assert torch.allclose(found.mean.mean, flat.mean(1))
    assert torch.allclose(found.std.mean, flat.std(1, correction=0))
    assert torch.allclose(found.active.mean, (flat > 0).double().mean(1))
    assert found.layer_std.mean == pytest.approx(float(flat.var(1, correction=0).mean().sqrt()))
    assert (found.std.low <= found.std.mean).all()
    assert (found.std.mean <= found.std.high).all()


def test_units_on_any_axis_are_told_apart():
    x = torch.randn(20, 5, 3, generator=seeded(1)) + torch.arange(3.0)
    assert torch.allclose(measured(x, "batch pos unit").mean.mean, x.double().mean((0, 1)))


def test_a_unit_that_is_never_above_zero_is_dead_and_no_other_is():
    x = torch.zeros(10, 3)
    x[:, 0] = -1
    x[4, 2] = 0.01
    found = measured(x)
    assert found.dead.tolist() == [True, True, False]
    assert found.dead_share == pytest.approx(2 / 3)


def test_sparsity_is_one_for_a_single_active_input_and_zero_for_even_activity():
    x = torch.zeros(8, 3)
    x[3, 0] = 5
    x[:, 1] = 2
    x[:4, 2] = 1
    sparsity = measured(x).sparsity
    assert sparsity[:2].tolist() == pytest.approx([1, 0])
    assert float(sparsity[2]) == pytest.approx((1 - 0.5) / (1 - 1 / 8))


def test_values_near_the_ends_of_a_range_are_saturated():
    x = torch.tensor([[0.0, 0.5], [0.04, 0.06], [0.951, 0.94], [1.0, 0.5]])
    found = measured(x, ranges={"*post": (0.0, 1.0)})
    assert found.saturated.mean.tolist() == [1, 0]
    assert found.saturated_share == 0.5
    assert measured(x).saturated_share is None


def test_the_interval_of_a_mean_covers_the_truth_about_as_often_as_it_says():
    covered = 0
    for seed in range(20):
        x = torch.randn(60, 10, generator=seeded(100 + seed)) + 0.5
        mean = measured(x).mean
        covered += int(((mean.low <= 0.5) & (mean.high >= 0.5)).sum())
    assert 175 <= covered <= 199


def test_results_do_not_depend_on_the_batch_size():
    net = ConvNet(ConvNetConfig(norm="batch"), seeded()).eval()
    images = torch.rand(20, 1, 8, 8, generator=seeded(1))
    small, large = (unit_responses(net, images, seeded(2), "blocks.*.hook_post", batch_size=size) for size in (3, 100))
    assert list(small) == ["blocks.0.layer.hook_post", "blocks.1.layer.hook_post"]
    for name in small:
        assert torch.allclose(small[name].std.mean, large[name].std.mean, atol=1e-6)
        assert torch.allclose(small[name].mean.low, large[name].mean.low, atol=1e-6)


def test_foreign_modules_are_measured_with_the_axes_that_the_caller_names():
    net = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.ReLU()).eval()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
    images = torch.rand(6, 1, 3, 3, generator=seeded())
    found = unit_responses(net, images, seeded(), "1", axes={"1": "batch unit y x"})["1"]
    assert found.dead.tolist() == [False, True]
    assert float(found.mean.mean[0]) == pytest.approx(float(images.mean()), abs=1e-6)
    with pytest.raises(InputError, match="the axes of 1 have no names"):
        unit_responses(net, images, seeded(), "1")


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (torch.zeros(1, 3), {}, "needs at least 2 inputs, got 1"),
        (torch.full((4, 3), float("inf")), {}, "hook_post: 12 responses are NaN or infinite"),
        (torch.zeros(4, 3), {"ranges": {"*": (1.0, 0.0)}}, r"the range of \* must be \(low, high\)"),
        (torch.zeros(4, 3), {"batch_size": 0}, "batch_size must be at least 1, got 0"),
        (torch.zeros(4, 3), {"names": "hook_pst"}, "hook_post"),
    ],
)
def test_bad_input_is_one_clear_line(x, options, message):
    with pytest.raises(InputError, match=message):
        measured(x, **options)


def test_a_model_in_training_mode_is_refused():
    with pytest.raises(InputError, match=r"call model\.eval\(\)"):
        unit_responses(Given("batch unit").train(), torch.zeros(4, 3), seeded())
