"""Residual nets against the paper's arithmetic, a slow twin, and what their hook points say."""

import pytest
import torch
import torch.nn.functional as F

from interp import intervene, record
from toy_models.errors import InputError
from toy_models.hook_point import HookPoint
from toy_models.vision import ResNet, ResNetConfig
from toy_models.vision.images import check_images


def size_of(module):
    return sum(p.numel() for p in module.parameters())


def drawn_net(**options):
    """Every parameter and running statistic drawn, so that none hides behind its initial value."""
    net = ResNet(ResNetConfig(**{"widths": (3, 4, 5), "depth": 8} | options), torch.Generator().manual_seed(0)).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if name.endswith("num_batches_tracked"):
                continue
            value = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            tensor.copy_(value.abs() + 0.5 if name.endswith("running_var") else 0.3 * value + tensor)
    return net.eval()


def images(n=2, channels=1, size=8):
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def normalised(x, state, name):
    if f"{name}.weight" not in state:
        return x
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    if f"{name}.running_mean" in state:
        return F.batch_norm(x, state[f"{name}.running_mean"], state[f"{name}.running_var"], weight, bias)
    return F.group_norm(x, 1, weight, bias)


def twin(net, x):
    """The same function by plain calls on the state dict, after the paper's equations 1 and 2."""
    state, config = net.state_dict(), net.config

    def layer(x, name, kernel, stride=1):
        x = F.conv2d(x, state[f"{name}.conv.weight"], state.get(f"{name}.conv.bias"), stride, kernel // 2)
        return normalised(x, state, f"{name}.norm")

    x = layer(x, "stem", 3).relu()
    kernels = (3, 3) if config.block == "basic" else (1, 3, 1)
    for index in range(config.blocks_per_stage * len(config.widths)):
        stage, first = divmod(index, config.blocks_per_stage)
        stride = 2 if stage and not first else 1
        computed = x
        for i, kernel in enumerate(kernels):
            at = i == (0 if config.block == "basic" else 1)
            computed = layer(computed, f"blocks.{index}.layers.{i}", kernel, stride if at else 1)
            computed = computed.relu() if i < len(kernels) - 1 else computed
        if config.residual:
            if f"blocks.{index}.project.conv.weight" in state:
                kept = layer(x, f"blocks.{index}.project", 1, stride)
            else:
                kept = torch.zeros_like(computed)
                kept[:, : x.shape[1]] = x[:, :, ::stride, ::stride]
            computed = computed + kept
        x = computed.relu()
    return x.mean((2, 3)) @ state["classify.weight"].T + state["classify.bias"]


GRID = [
    {"residual": residual, "norm": norm, "block": block, "depth": depth, "shortcut": shortcut}
    for residual in (True, False)
    for norm in ("none", "batch", "layer")
    for block, depth in (("basic", 14), ("bottleneck", 11))
    for shortcut in ("A", "B", "C")
]


@pytest.mark.parametrize("options", GRID)
def test_a_residual_net_computes_what_its_equations_say(options):
    net = drawn_net(**options)
    assert torch.allclose(net(images()), twin(net, images()), atol=1e-12)
    assert torch.allclose(record_all(net, images())["hook_logits"], net(images()), atol=1e-12)


def record_all(net, x):
    return record(net, x, names="*")


def test_resnet_20_has_the_papers_parameters():
    assert size_of(ResNet(ResNetConfig())) == 269_434
    assert size_of(ResNet(ResNetConfig(channels=3))) == 269_722
    assert size_of(ResNet(ResNetConfig(residual=False))) == 269_434, "shortcut A has no weights"
    assert size_of(ResNet(ResNetConfig(channels=3, depth=110))) == 1_727_962


def test_a_bottleneck_at_256_has_69632_weights_and_a_projection_65536_more():
    options = {"widths": (64, 64, 64), "norm": "batch", "block": "bottleneck", "depth": 20}
    plain, projected = (ResNet(ResNetConfig(**options, shortcut=kind)).blocks[1] for kind in ("A", "C"))
    convolutions = [sum(layer.conv.weight.numel() for layer in block.layers) for block in (plain, projected)]
    assert convolutions == [69_632, 69_632]
    assert projected.project.conv.weight.numel() == 65_536
    basic = ResNet(ResNetConfig(widths=(256, 256, 256), depth=8)).blocks[0]
    assert sum(layer.conv.weight.numel() for layer in basic.layers) == 1_179_648


def test_a_block_whose_convolutions_are_zero_passes_its_input_on_only_with_a_shortcut():
    for residual in (True, False):
        net = drawn_net(residual=residual, norm="none")
        block = net.blocks[0]
        with torch.no_grad():
            for parameter in block.layers[-1].parameters():
                parameter.zero_()
        before, after = (record(net, images(), names=[n])[n] for n in ("stem.hook_post", "blocks.0.hook_post"))
        assert torch.equal(after, before if residual else torch.zeros_like(before))


def test_the_sum_of_a_block_is_its_shortcut_plus_what_it_computes():
    run = record_all(drawn_net(), images())
    for index in range(3):
        summed = run[f"blocks.{index}.hook_shortcut"] + run[f"blocks.{index}.layers.1.hook_norm"]
        assert torch.equal(run[f"blocks.{index}.hook_add"], summed)
        assert torch.equal(run[f"blocks.{index}.hook_post"], summed.relu())


def test_removing_a_filter_at_a_hook_point_equals_removing_its_weights():
    net, other = drawn_net(), drawn_net()
    with torch.no_grad():
        other.blocks[0].layers[1].conv.weight[:, 2] = 0
    with intervene(net, {"blocks.0.layers.0.hook_post": zero_unit(2)}):
        edited = net(images())
    assert torch.allclose(edited, other(images()), atol=1e-12)
    assert not torch.allclose(edited, net(images()))


def zero_unit(unit):
    def edit(value):
        value = value.clone()
        value[:, unit] = 0
        return value

    return edit


@pytest.mark.parametrize("options", [{}, {"residual": False, "norm": "none"}, {"block": "bottleneck", "depth": 11}])
def test_no_module_runs_twice_and_every_point_names_its_axes(options):
    net = drawn_net(**options)
    runs = dict.fromkeys(net.modules(), 0)
    handles = [m.register_forward_hook(lambda m, *_: runs.update({m: runs[m] + 1})) for m in net.modules()]
    run = record_all(net, images())
    for handle in handles:
        handle.remove()
    assert max(runs.values()) == 1
    for name, module in net.named_modules():
        if isinstance(module, HookPoint):
            assert runs[module] == 1
            assert run[name].ndim == len(module.axes), name


def test_initial_weights_have_he_variance_and_come_from_the_generator_alone():
    config = ResNetConfig(widths=(64, 64, 64), depth=8)
    torch.manual_seed(5)
    first = ResNet(config, torch.Generator().manual_seed(0))
    torch.manual_seed(6)
    second = ResNet(config, torch.Generator().manual_seed(0))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    weight = first.blocks[0].layers[0].conv.weight
    assert abs(weight.var().item() * 64 * 9 / 2 - 1) < 0.05
    assert abs(first.classify.weight.var().item() * 64 - 1) < 0.3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 21}, r"depth must be 6 n \+ 2 with 3 stages of basic blocks \(8, 14, 20 ...\), got 21"),
        ({"depth": 2}, "depth must be 6 n"),
        ({"block": "bottleneck"}, None),
        ({"block": "bottleneck", "depth": 14}, r"9 n \+ 2 with 3 stages of bottleneck blocks"),
        ({"widths": (8, 4)}, "shortcut A adds filters, so widths must not fall"),
        ({"widths": ()}, "widths must name at least one stage"),
        ({"size": 0}, "size must be at least 1, got 0"),
        ({"n_classes": 1}, "n_classes must be at least 2, got 1"),
        ({"norm_eps": -1.0}, "norm_eps must be 0 or above"),
    ],
)
def test_a_config_that_cannot_work_says_why(options, message):
    if message is None:
        assert ResNetConfig(**options).blocks_per_stage == 2
        return
    with pytest.raises(InputError, match=message):
        ResNetConfig(**options)


@pytest.mark.parametrize(
    ("shape", "kind", "message"),
    [
        ((2, 3, 8, 8), torch.float64, r"images must be \[batch 1 8 8\], got \[2, 3, 8, 8\]"),
        ((2, 1, 9, 8), torch.float64, r"got \[2, 1, 9, 8\]"),
        ((1, 8, 8), torch.float64, r"got \[1, 8, 8\]"),
        ((2, 1, 8, 8), torch.uint8, "must be floating-point numbers, got torch.uint8"),
    ],
)
def test_images_that_do_not_fit_are_one_clear_line(shape, kind, message):
    with pytest.raises(InputError, match=message):
        check_images(torch.zeros(shape, dtype=kind), 1, 8)


def test_nan_pixels_are_counted():
    x = images()
    x[0, 0, 1, :3] = float("nan")
    with pytest.raises(InputError, match="3 of 128 pixels are NaN"):
        drawn_net()(x)
