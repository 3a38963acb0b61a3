"""What `interp units` measures: known for nets whose units, layers and gradients were set by hand."""

import pytest
import torch
import torch.nn.functional as F

from analyses.report.unit_survey import conclusion
from analyses.units.layers import stretches
from analyses.units.naming import units_named
from analyses.units.net import Examples, Net, settled
from analyses.units.survey import gradients_of, survey
from interp.errors import InputError as InterpInputError
from interp.hooks import record
from toy_models.autoencoder import DropoutAutoencoder
from toy_models.errors import InputError
from toy_models.mlp import MLP
from toy_models.vector_config import DropoutAutoencoderConfig, MLPConfig
from toy_models.vision import ConvNet, ConvNetConfig, ResNet, ResNetConfig
from toy_models.vision.data import digits


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def cross_entropy(output, targets):
    return F.cross_entropy(output, targets, reduction="none")


def net_of(kind, config, n=120):
    """Of random weights, standing for the trained net, and others, for the untrained one."""
    data = digits()
    examples = Examples(data.images[:n], data.labels[:n])
    model, untrained = (kind(config, seeded(seed)) for seed in (1, 0))
    return Net(
        name="net",
        model=settled(model, examples),
        untrained=settled(untrained, examples),
        training=examples,
        held_out=Examples(data.images[n : n + 40], data.labels[n : n + 40]),
        loss=cross_entropy,
        loss_name="cross-entropy, nats",
        labels=data.labels[n : n + 40],
        classes=data.classes,
        activation=getattr(config, "activation", "relu"),
        description="a net",
        identity={},
    )


def test_units_whose_bias_keeps_them_below_zero_are_dead_and_the_page_says_how_many():
    net = net_of(ConvNet, ConvNetConfig(widths=(4, 6)))
    with torch.no_grad():
        net.model.blocks[0].layer.conv.bias.fill_(1)
        net.model.blocks[1].layer.conv.bias[[1, 4]] = -100
    found = survey(net, (), seeded())
    dead = found.responses[0]["blocks.1.layer.hook_post"].dead
    assert dead.nonzero().flatten().tolist() == [1, 4]
    assert not found.responses[1]["blocks.1.layer.hook_post"].dead.any()
    assert conclusion(found).startswith(
        "2 of 10 units are dead after their activation on these examples (0 untrained)."
    )


def test_responses_are_those_of_the_held_out_examples_and_the_baseline_is_the_other_net():
    net = net_of(ConvNet, ConvNetConfig(widths=(4, 6)))
    name = "blocks.0.layer.hook_post"
    for model, found in zip((net.model, net.untrained), survey(net, (name,), seeded()).responses, strict=True):
        assert list(found) == [name]
        values = record(model, net.held_out.inputs, names=name)[name].double()
        assert torch.allclose(found[name].mean.mean, values.mean((0, 2, 3)))


def test_saturation_is_measured_where_the_activation_has_two_ends():
    net = net_of(MLP, MLPConfig(widths=(5,), activation="tanh"))
    with torch.no_grad():
        net.model.blocks[0].linear.weight.mul_(1000)
    found = survey(net, (), seeded()).responses[0]
    assert found["blocks.0.hook_post"].saturated_share > 0.9
    assert found["blocks.0.hook_pre"].saturated_share is None
    rectified = survey(net_of(MLP, MLPConfig(widths=(5,))), (), seeded()).responses[0]
    assert rectified["blocks.0.hook_post"].saturated_share is None


def test_a_layer_without_activation_is_affine_and_a_rectified_one_less_than_its_affine_part():
    config = {"widths": (12, 6)}
    plain = survey(net_of(MLP, MLPConfig(**config, activation="identity"), n=300), (), seeded()).linearity
    assert [each.trained.r2.mean for each in plain] == pytest.approx([1, 1], abs=1e-3)
    bent = survey(net_of(MLP, MLPConfig(**config), n=300), (), seeded()).linearity
    assert [each.affine.r2.mean for each in bent] == pytest.approx([1, 1], abs=1e-3)
    assert all(each.trained.r2.high < 0.99 for each in bent)
    assert all(each.trained.shuffled.maximum < 0.1 for each in bent)


@pytest.mark.parametrize(
    ("kind", "config", "layers"),
    [
        (ConvNet, ConvNetConfig(widths=(2, 3)), [(None, "blocks.0.layer"), ("blocks.0.hook_pool", "blocks.1.layer")]),
        (ConvNet, ConvNetConfig(widths=(2,), pool="none", norm="layer"), [(None, "blocks.0.layer")]),
        (
            ResNet,
            ResNetConfig(depth=6, widths=(2, 3)),
            [(None, "stem"), ("stem.hook_post", "blocks.0"), ("blocks.0.hook_post", "blocks.1")],
        ),
        (
            MLP,
            MLPConfig(widths=(3, 3), norm="batch", dropout=0.2),
            [(None, "blocks.0"), ("blocks.0.hook_post", "blocks.1")],
        ),
        (DropoutAutoencoder, DropoutAutoencoderConfig(d_hidden=3), [(None, "")]),
    ],
)
def test_layers_are_found_with_what_they_read_and_a_residual_block_is_one_of_them(kind, config, layers):
    found = stretches(net_of(kind, config))
    assert [(each.source, each.target.rpartition(".")[0]) for each in found] == layers


def test_the_linear_part_of_a_layer_is_exactly_affine_in_what_it_reads():
    net = net_of(ResNet, ResNetConfig(depth=6, widths=(2, 3)), n=250)
    assert all(each.affine.r2.mean > 0.98 for each in survey(net, ("hook_pooled",), seeded()).linearity)


def test_gradients_are_those_of_training_mode_whose_dropout_the_generator_decides():
    net = net_of(MLP, MLPConfig(widths=(6,), dropout=0.5, norm="batch"))
    first, second, other = (gradients_of(net.model, net, seeded(seed)) for seed in (0, 0, 1))
    assert torch.equal(first.norms.mean, second.norms.mean)
    assert not torch.equal(first.norms.mean, other.norms.mean)
    assert not net.model.training
    plain = net_of(MLP, MLPConfig(widths=(6,)))
    found = gradients_of(plain.model, plain, seeded())
    by_hand = []
    for part in (slice(0, 60), slice(60, 120)):
        loss = F.cross_entropy(plain.model(plain.training.inputs[part]), plain.training.targets[part])
        by_hand.append(torch.autograd.grad(loss, plain.model.classify.weight)[0].norm())
    assert float(found.norms.mean[-1]) == pytest.approx(float(torch.stack(by_hand).mean()), rel=1e-5)


def test_an_untrained_net_normalises_by_the_statistics_of_training_examples():
    net = net_of(ResNet, ResNetConfig(depth=6, widths=(2, 3)))
    values = record(net.untrained, net.training.inputs, names="stem.hook_norm")["stem.hook_norm"]
    assert torch.allclose(values.mean((0, 2, 3)), torch.zeros(2), atol=1e-5)
    assert torch.allclose(values.std((0, 2, 3)), torch.ones(2), atol=1e-3)


POOLED, POST = "hook_pooled", "blocks.0.layer.hook_post"


@pytest.mark.parametrize(
    ("words", "units"),
    [
        ((f"{POST}:2",), {POST: [2]}),
        ((f"{POST}:3,0-1",), {POST: [0, 1, 3]}),
        ((f"{POST}:1", POOLED, f"{POST}:0,1"), {POST: [0, 1], POOLED: [0, 1, 2]}),
    ],
)
def test_units_are_named_by_point_and_number(words, units):
    assert units_named(net_of(ConvNet, ConvNetConfig(widths=(4, 3))), words, whole_points=True) == units


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (f"{POST}:4", "has units 0 to 3, there is no unit 4"),
        (f"{POST}:0-99999999999", "there is no unit 99999999999"),
        (f"{POST}:3-1", "3-1 counts down"),
        (f"{POST}:", "a unit is named as NAME:K"),
        ("blocks.0.layer.hook_pots:1", "did you mean blocks.0.layer.hook_post"),
        ("blocks.*.layer.hook_post:1", r"means 2 points \(blocks.0.layer.hook_post, blocks.1.layer.hook_post ...\)"),
        ("hook_logits:1", "hook_logits has no units of its own; did you mean hook_pooled"),
        ("dropout.hook_mask:1", "dropout.hook_mask has no units of its own"),
        (POST, "a unit is named as NAME:K"),
    ],
)
def test_a_name_that_means_no_unit_is_refused_with_the_nearest(word, message):
    with pytest.raises((InputError, InterpInputError), match=message):
        units_named(net_of(ConvNet, ConvNetConfig(widths=(4, 3))), (word,), whole_points=False)
