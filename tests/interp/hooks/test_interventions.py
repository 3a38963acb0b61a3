"""`ablate` sets units to something else along the axis that counts units, whatever the model."""

import pytest
import torch
from torch import nn

from interp.errors import InputError
from interp.hooks import ablate, intervene, record
from toy_models.config import TransformerConfig
from toy_models.transformer import Transformer

Z = "blocks.1.attn.hook_z"


@pytest.fixture
def model(generator):
    config = TransformerConfig(n_layers=2, n_heads=3, d_model=12, d_head=4, d_vocab=11, n_ctx=9, d_mlp=5)
    model = Transformer(config, generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
    return model


@pytest.fixture
def tokens(generator):
    return torch.randint(0, 11, (4, 9), generator=generator)


def ablated(model, tokens, name, ablation, **options):
    """The value before and after."""
    before = record(model, tokens, names=name)[name]
    with intervene(model, {name: ablation}, **options):
        return before, record(model, tokens, names=name)[name]


def test_ablated_heads_are_zero_and_the_others_untouched(model, tokens):
    before, after = ablated(model, tokens, Z, ablate([0, 2]))
    assert not after[:, :, [0, 2]].any()
    assert torch.equal(after[:, :, 1], before[:, :, 1])


def test_the_axis_is_the_one_called_head_or_unit(model, tokens):
    before, after = ablated(model, tokens, "blocks.0.attn.hook_pattern", ablate(1))
    assert not after[:, 1].any()
    assert torch.equal(after[:, [0, 2]], before[:, [0, 2]])
    before, after = ablated(model, tokens, "blocks.0.mlp.hook_post", ablate(range(2)))
    assert not after[..., :2].any()
    assert torch.equal(after[..., 2:], before[..., 2:])


def test_the_mean_is_over_the_batch_so_that_each_position_keeps_its_own(model, tokens):
    before, after = ablated(model, tokens, Z, ablate(1, to="mean"))
    torch.testing.assert_close(after[:, :, 1], before[:, :, 1].mean(0).expand(4, 9, 4))
    assert torch.equal(after[:, :, 0], before[:, :, 0])


def test_the_mean_is_over_the_axes_asked_for(model, tokens):
    before, after = ablated(model, tokens, Z, ablate(1, to="mean", over=("batch", "pos")))
    torch.testing.assert_close(after[:, :, 1], before[:, :, 1].mean((0, 1)).expand(4, 9, 4))


def test_resampling_gives_every_sample_the_values_of_another(model, tokens):
    generator = torch.Generator().manual_seed(1)
    before, after = ablated(model, tokens, Z, ablate([0, 1], to="resample", generator=generator))
    source = [
        next(other for other in range(4) if torch.equal(after[sample, :, :2], before[other, :, :2]))
        for sample in range(4)
    ]
    assert sorted(source) == [0, 1, 2, 3]
    assert all(sample != other for sample, other in enumerate(source))
    again = ablated(model, tokens, Z, ablate([0, 1], to="resample", generator=torch.Generator().manual_seed(1)))[1]
    assert torch.equal(again, after)


def test_a_tensor_is_spread_over_the_units(model, tokens):
    values = torch.tensor([1.0, 2.0])[:, None]  # one for each unit, the same for every number of the head
    _, after = ablated(model, tokens, Z, ablate([2, 0], to=values))
    assert bool((after[:, :, 2] == 1.0).all())
    assert bool((after[:, :, 0] == 2.0).all())


def test_filters_of_a_cnn_are_addressed_by_axes_or_by_number():
    torch.manual_seed(0)
    cnn = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
    images = torch.randn(3, 1, 6, 6)
    for ablation, options in [(ablate([1, 3]), {"axes": {"1": "batch unit y x"}}), (ablate([1, 3], axis=1), {})]:
        before, after = ablated(cnn, images, "1", ablation, **options)
        assert not after[:, [1, 3]].any()
        assert torch.equal(after[:, [0, 2]], before[:, [0, 2]])


def test_gradients_reach_only_the_units_that_stay(model, tokens):
    with intervene(model, {Z: ablate(1)}):
        activations = record(model, tokens, names=["blocks.1.attn.hook_v"], grad=True)
    (gradient,) = torch.autograd.grad(activations.output.sum(), activations["blocks.1.attn.hook_v"])
    assert (gradient.abs().sum((0, 1, 3)) > 0).tolist() == [True, False, True]


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"units": []}, "needs one or more whole numbers"),
        ({"units": [1, 1]}, r"the same unit twice: \[1, 1\]"),
        ({"units": 0, "to": "resample"}, "pass generator="),
    ],
)
def test_ablations_that_cannot_be_are_refused_when_made(options, reason):
    with pytest.raises(InputError, match=reason):
        ablate(**options)


@pytest.mark.parametrize(
    "name, ablation, reason",
    [
        (Z, ablate(3), r"hook_z has units 0 to 2, there is no unit 3"),
        (Z, ablate(-1), "there is no unit -1"),
        ("hook_embed", ablate(0), r"hook_embed has axes \(batch pos d_model\), none called unit or head: pass axis="),
        (Z, ablate(0, axis="row"), "none called row"),
        (Z, ablate(0, to=torch.zeros(7)), r"\[4, 9, 1, 4\], the ablation's tensor is \[7\] and does not broadcast"),
    ],
)
def test_ablations_that_cannot_be_at_a_point_are_refused(model, tokens, name, ablation, reason):
    with pytest.raises(InputError, match=reason), intervene(model, {name: ablation}):
        model(tokens)


@pytest.mark.parametrize("to", ["mean", "resample"])
def test_a_single_sample_has_no_mean_and_no_other(model, tokens, to):
    ablation = ablate(0, to=to, generator=torch.Generator())
    with (
        pytest.raises(InputError, match=f"its {to} is the value itself: give a larger batch"),
        intervene(model, {Z: ablation}),
    ):
        model(tokens[:1])


def test_points_without_named_axes_need_a_number():
    with (
        pytest.raises(InputError, match="the axes of 0 have no names: pass axis=<number>"),
        intervene(nn.Sequential(nn.Linear(2, 2)), {"0": ablate(0)}),
    ):
        pass
