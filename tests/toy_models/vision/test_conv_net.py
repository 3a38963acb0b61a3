"""The convolutional net against plain calls, its symmetry under shifts, and what its hook points say."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F

from interp import intervene, record
from toy_models.errors import InputError
from toy_models.vision import ConvNet, ConvNetConfig


def drawn_net(**options):
    config = ConvNetConfig(**{"widths": (3, 4), "size": 8, "n_classes": 5} | options)
    net = ConvNet(config, torch.Generator().manual_seed(0)).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return net.eval()


def images(n=3, size=8):
    return torch.randn(n, 1, size, size, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def twin(net, x):
    config, state = net.config, net.state_dict()
    for index in range(len(config.widths)):
        name = f"blocks.{index}.layer"
        pad = config.kernel // 2
        x = F.pad(x, (pad,) * 4, mode="circular" if config.padding == "circular" else "constant")
        x = F.conv2d(x, state[f"{name}.conv.weight"], state.get(f"{name}.conv.bias"))
        if config.norm == "batch":
            x = F.batch_norm(x, *(state[f"{name}.norm.{k}"] for k in ("running_mean", "running_var", "weight", "bias")))
        if config.norm == "layer":
            x = F.group_norm(x, 1, state[f"{name}.norm.weight"], state[f"{name}.norm.bias"])
        x = x.relu()
        if config.pool != "none":
            patches = x.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4)
            x = patches.amax(-1) if config.pool == "max" else patches.mean(-1)
    x = x.mean((2, 3)) if config.average else x.flatten(1)
    return x @ state["classify.weight"].T + state["classify.bias"]


GRID = list(
    product(("none", "batch", "layer"), ("none", "max", "average"), (True, False), ("zeros", "circular"), (1, 3))
)


@pytest.mark.parametrize(("norm", "pool", "average", "padding", "kernel"), GRID)
def test_a_conv_net_computes_what_plain_calls_do(norm, pool, average, padding, kernel):
    net = drawn_net(norm=norm, pool=pool, average=average, padding=padding, kernel=kernel)
    assert torch.allclose(net(images()), twin(net, images()), atol=1e-12)


def test_with_circular_padding_a_shifted_image_gives_shifted_responses_and_with_zeros_it_does_not():
    def error(padding):
        net, point = drawn_net(padding=padding, pool="none"), "blocks.1.layer.hook_post"
        moved = record(net, images().roll((1, 2), (2, 3)), names=point)[point]
        return (moved - record(net, images(), names=point)[point].roll((1, 2), (2, 3))).abs().max()

    assert error("circular") < 1e-12
    assert error("zeros") > 0.1


def test_dropout_stands_between_the_last_responses_and_the_linear_map():
    net = drawn_net(dropout=0.5).train()
    run = record(net, images(), names=["hook_pooled", "dropout.hook_mask", "hook_logits"])
    read = run["hook_pooled"].flatten(1) * run["dropout.hook_mask"]
    expected = read @ net.classify.weight.T + net.classify.bias
    assert torch.allclose(run["hook_logits"], expected, atol=1e-12)
    assert set(run["dropout.hook_mask"].unique().tolist()) == {0.0, 2.0}


def test_an_edit_of_a_filter_reaches_the_logits_as_an_edit_of_its_weights_does():
    net, other = drawn_net(), drawn_net()
    with torch.no_grad():
        for parameter in other.blocks[0].layer.conv.parameters():
            parameter[1] *= 2
    with intervene(net, {"blocks.0.layer.hook_pre": lambda v: v * torch.tensor([1, 2, 1]).view(1, 3, 1, 1)}):
        assert torch.allclose(net(images()), other(images()), atol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel": 2}, "kernel must be odd, so that the image keeps its size, got 2"),
        ({"widths": ()}, "widths must name at least one convolution"),
        ({"widths": (4, 4, 4, 4), "size": 8}, "4 times pooled, nothing is left of images of 8 pixels"),
        ({"padding": "circular", "kernel": 9, "size": 3, "widths": (4,)}, "circular padding of 4 is wider than images"),
        ({"dropout": 1.0}, "dropout must be 0 or above and below 1, got 1.0"),
    ],
)
def test_a_config_that_cannot_work_says_why(options, message):
    with pytest.raises(InputError, match=message):
        ConvNetConfig(**options)
