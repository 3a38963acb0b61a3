"""BatchNorm and LayerNorm of the shelf against torch.nn's, inside and outside."""

from itertools import product

import pytest
import torch
from torch import nn

from interp import intervene, record
from interp.errors import InputError as InterpInputError
from toy_models.errors import InputError
from toy_models.layers import BatchNorm, LayerNorm

SHAPES = {"batch unit": (6, 5), "batch unit y x": (6, 5, 3, 4)}
INSIDE = ("hook_mean", "hook_var", "hook_normalized")


def drawn(axes, scale=3.0):
    generator = torch.Generator().manual_seed(0)
    return scale * torch.randn(SHAPES[axes], generator=generator) + 1


def with_gains(norm):
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(-1, 2, len(norm.weight)))
        norm.bias.copy_(torch.linspace(0.5, -1, len(norm.bias)))
    return norm


def peer_of(norm, axes):
    if isinstance(norm, BatchNorm):
        peer = (nn.BatchNorm1d if axes == "batch unit" else nn.BatchNorm2d)(5)
    else:
        peer = nn.LayerNorm(5) if axes == "batch unit" else nn.GroupNorm(1, 5)
    peer.load_state_dict(norm.state_dict())
    return peer


@pytest.mark.parametrize(
    ("kind", "axes", "training", "watched"), list(product((BatchNorm, LayerNorm), SHAPES, (True, False), (True, False)))
)
def test_a_norm_equals_that_of_torch_in_values_gradients_and_buffers(kind, axes, training, watched):
    norm = with_gains(kind(5, axes))
    if kind is BatchNorm:
        norm.running_mean.copy_(torch.arange(5.0))
        norm.running_var.copy_(torch.arange(1.0, 6))
    peer = peer_of(norm, axes).train(training)
    norm.train(training)
    handle = norm.hook_normalized.register_forward_hook(lambda *_: None) if watched else None
    ours, theirs = drawn(axes).requires_grad_(), drawn(axes).requires_grad_()
    (norm(ours) ** 3).sum().backward()
    (peer(theirs) ** 3).sum().backward()
    assert torch.allclose(norm(ours), peer(theirs), atol=1e-6)
    assert torch.allclose(ours.grad, theirs.grad, rtol=1e-4, atol=1e-3)
    for (name, mine), (_, other) in zip(norm.named_parameters(), peer.named_parameters(), strict=True):
        assert torch.allclose(mine.grad, other.grad, rtol=1e-5, atol=1e-4), name
    for (name, mine), (_, other) in zip(norm.named_buffers(), peer.named_buffers(), strict=True):
        assert torch.allclose(mine, other, atol=1e-6), name
    if handle is not None:
        handle.remove()


@pytest.mark.parametrize("axes", SHAPES)
def test_the_inside_of_a_batch_norm_is_the_mean_and_variance_of_the_batch_in_training(axes):
    norm, x = BatchNorm(5, axes).train(), drawn(axes)
    run = record(norm, x, names=list(INSIDE))
    by_unit = x.transpose(0, 1).flatten(1)
    assert torch.allclose(run["hook_mean"], by_unit.mean(1), atol=1e-6)
    assert torch.allclose(run["hook_var"], by_unit.var(1, correction=0), rtol=1e-5)
    normalized = run["hook_normalized"].transpose(0, 1).flatten(1)
    assert torch.allclose(normalized.mean(1), torch.zeros(5), atol=1e-6)
    assert torch.allclose(normalized.var(1, correction=0), torch.ones(5), atol=1e-4)
    assert torch.equal(norm.running_mean, torch.zeros(5)), "recording taught the norm"


def test_the_inside_of_a_batch_norm_is_its_running_statistics_in_evaluation():
    norm = BatchNorm(5, "batch unit").eval()
    norm.running_mean.copy_(torch.arange(5.0))
    norm.running_var.fill_(4.0)
    run = record(norm, drawn("batch unit"), names=list(INSIDE))
    assert torch.equal(run["hook_mean"], torch.arange(5.0))
    assert torch.equal(run["hook_var"], torch.full((5,), 4.0))
    assert torch.allclose(run["hook_normalized"], (drawn("batch unit") - torch.arange(5.0)) / 2, atol=1e-5)


@pytest.mark.parametrize("axes", SHAPES)
def test_the_inside_of_a_layer_norm_is_the_mean_and_variance_of_each_example(axes):
    run = record(with_gains(LayerNorm(5, axes)), drawn(axes), names=list(INSIDE))
    each = drawn(axes).flatten(1)
    assert torch.allclose(run["hook_mean"], each.mean(1), atol=1e-6)
    assert torch.allclose(run["hook_var"], each.var(1, correction=0), rtol=1e-5)


def test_gamma_and_beta_can_undo_the_normalisation():
    norm, x = BatchNorm(5, "batch unit").double().eval(), drawn("batch unit").double()
    norm.running_mean.copy_(torch.arange(5.0))
    norm.running_var.copy_(torch.arange(1.0, 6))
    with torch.no_grad():
        norm.weight.copy_((norm.running_var + norm.eps).sqrt())
        norm.bias.copy_(norm.running_mean)
    assert (norm(x) - x).abs().max() < 1e-14


def test_holding_the_scale_of_a_layer_norm_leaves_an_affine_map():
    norm = with_gains(LayerNorm(5, "batch unit")).double()
    a, b = (torch.randn(1, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(s)) for s in (1, 2))

    def curvature():
        return (norm(a + b) - norm(a) - norm(b) + norm(torch.zeros_like(a))).abs().max()

    assert curvature() > 0.1
    with intervene(norm, {"hook_var": lambda var: torch.full_like(var, 2.0)}):
        assert curvature() < 1e-12


def test_an_edited_variance_changes_the_output_of_a_batch_norm():
    norm, x = BatchNorm(5, "batch unit").eval(), drawn("batch unit")
    with intervene(norm, {"hook_var": lambda var: var * 4}):
        edited = norm(x)
    assert torch.allclose(edited, norm(x) / 2, atol=1e-4)


def test_editing_a_batch_norm_in_training_mode_is_refused():
    norm = BatchNorm(5, "batch unit").train()
    with pytest.raises(InterpInputError, match="would change the others"), intervene(norm, {"hook_mean": lambda m: m}):
        norm(drawn("batch unit"))


@pytest.mark.parametrize("watched", [True, False])
def test_one_value_per_unit_in_training_mode_is_one_clear_line(watched):
    norm = BatchNorm(5, "batch unit")
    if watched:
        norm.hook_mean.register_forward_hook(lambda *_: None)
    with pytest.raises(InputError, match="more than one value for each unit, got one: use a larger batch"):
        norm(torch.zeros(1, 5))
    assert norm.eval()(torch.ones(1, 5)).shape == (1, 5)


@pytest.mark.parametrize("kind", [BatchNorm, LayerNorm])
@pytest.mark.parametrize("shape", [(6, 4), (6, 5, 3)])
def test_another_shape_is_named(kind, shape):
    with pytest.raises(InputError, match=r"of 5 units reads \[batch unit\], got a tensor of"):
        kind(5, "batch unit")(torch.zeros(shape))
