"""Our transformer and TransformerLens' small model are the same function, and their hook points the same values."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from toy_models.bridge import from_bridge, to_bridge
from toy_models.config import TransformerConfig
from toy_models.errors import InputError
from toy_models.hook_point import HookPoint
from toy_models.transformer import Transformer

SMALL: dict[str, Any] = {
    "n_layers": 2,
    "n_heads": 3,
    "d_model": 8,
    "d_head": 4,
    "d_vocab": 11,
    "n_ctx": 9,
    "normalization": "LN",
}


@pytest.fixture(scope="module")
def lens():
    """TransformerLens, imported once: it takes seconds."""
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge import TransformerBridge

    return SimpleNamespace(Config=TransformerBridgeConfig, Bridge=TransformerBridge)


def random_model(generator, **options):
    model = Transformer(TransformerConfig(**(SMALL | options)), generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
    return model


def some_tokens(generator):
    return torch.randint(0, 11, (4, 9), generator=generator)


@torch.no_grad()
def assert_same_logits(model, bridge, tokens):
    torch.testing.assert_close(bridge(tokens), model(tokens), rtol=0, atol=1e-5)


@pytest.mark.parametrize("positions", ["standard", "rotary", "none"])
@pytest.mark.parametrize("normalization", ["none", "LN", "LNPre", "RMS", "RMSPre"])
def test_logits_are_equal_both_ways_for_each_position_and_normalisation(lens, generator, positions, normalization):
    model = random_model(generator, positions=positions, normalization=normalization)
    tokens = some_tokens(generator)
    bridge = to_bridge(model)
    assert_same_logits(model, bridge, tokens)
    assert_same_logits(from_bridge(bridge), bridge, tokens)


@pytest.mark.parametrize(
    "options",
    [
        {"biases": False},
        {"tied_embeddings": True},
        {"learned_positions": False},
        {"d_mlp": 7},
        {"d_mlp": 7, "activation": "relu", "biases": False},
        {"n_layers": 0},
        {"n_heads": 1, "d_head": 1},
        {"attention_dir": "bidirectional", "d_mlp": 7},
        {"attention_dir": "bidirectional", "positions": "rotary"},
        {"positions": "rotary", "rotary_base": 99.5, "norm_eps": 0.01},
    ],
    ids=str,
)
def test_logits_are_equal_both_ways_with_other_options(lens, generator, options):
    model, tokens = random_model(generator, **options), some_tokens(generator)
    bridge = to_bridge(model)
    assert_same_logits(model, bridge, tokens)
    assert_same_logits(from_bridge(bridge), bridge, tokens)


@pytest.mark.parametrize("options", [{"d_mlp": 7}, {"positions": "rotary", "normalization": "RMS"}])
def test_weights_come_back_equal(lens, generator, options):
    model = random_model(generator, **options)
    again = from_bridge(to_bridge(model))
    assert dataclasses.replace(again.config, activation="gelu") == model.config
    assert again.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in model.state_dict().items())


def test_a_bridges_own_weights_are_copied_not_shared(lens, generator):
    model = random_model(generator)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    bridge = to_bridge(model)
    with torch.no_grad():
        for parameter in bridge.parameters():
            parameter.zero_()
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in before.items())
    assert float(bridge.W_Q.detach().abs().sum()) == 0


def test_a_bridges_weight_properties_are_ours(lens, generator):
    model = random_model(generator)
    bridge = to_bridge(model)
    for name in ("W_E", "W_pos", "W_Q", "W_K", "W_V", "W_O", "b_Q", "b_K", "b_V", "b_O", "W_U", "b_U"):
        torch.testing.assert_close(getattr(bridge, name), getattr(model, name), rtol=0, atol=0)


def test_the_unembedding_bias_is_trained_on_the_bridge_as_on_ours(lens, generator):
    bridge, tokens = to_bridge(random_model(generator)), some_tokens(generator)
    bridge(tokens)[..., 5].sum().backward()
    gradient = bridge.unembed.original_component.bias.grad
    assert gradient.tolist() == [36.0 if token == 5 else 0.0 for token in range(11)]
    assert any(parameter is bridge.unembed.original_component.bias for parameter in bridge.parameters())


def test_dtype_mode_and_random_state_are_kept(lens, generator):
    model = random_model(generator).double().eval()
    before = torch.get_rng_state()
    bridge = to_bridge(model)
    again = from_bridge(bridge)
    assert torch.equal(torch.get_rng_state(), before)
    assert bridge.W_Q.dtype == again.W_Q.dtype == torch.float64
    assert not bridge.training
    assert not again.training
    tokens = some_tokens(generator)
    torch.testing.assert_close(bridge(tokens), model(tokens), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "options, reason",
    [({"positions": "shortformer"}, "no shortformer positions"), ({"smeared_keys": True}, "no smeared keys")],
)
def test_models_that_transformer_lens_cannot_represent_are_refused(lens, generator, options, reason):
    with pytest.raises(InputError, match=reason):
        to_bridge(random_model(generator, **options))


def test_weights_that_are_not_finite_are_refused(lens, generator):
    model = random_model(generator)
    with torch.no_grad():
        model.blocks[1].attn.W_K[0, 0, 0] = torch.nan
    with pytest.raises(InputError, match=r"blocks\.1\.attn\.W_K holds values that are NaN or infinite"):
        to_bridge(model)


def native_bridge(lens, **options):
    config = {
        "d_model": 8, "d_head": 4, "n_layers": 1, "n_heads": 2, "n_ctx": 9, "d_vocab": 11, "d_mlp": 5,
        "act_fn": "relu", "normalization_type": "LN", "positional_embedding_type": "standard", "seed": 0,
    }  # fmt: skip
    return lens.Bridge.boot_native(lens.Config(**(config | options)))


@pytest.mark.parametrize(
    "options", [{}, {"attn_only": True}, {"act_fn": "gelu", "positional_embedding_type": "rotary"}]
)
def test_bridges_that_boot_native_made_are_read(lens, generator, options):
    bridge, tokens = native_bridge(lens, **options), some_tokens(generator)
    assert_same_logits(from_bridge(bridge), bridge, tokens)


def test_a_bridge_in_compatibility_mode_is_read(lens, generator):
    bridge, tokens = to_bridge(random_model(generator)), some_tokens(generator)
    before = bridge(tokens).log_softmax(-1)
    bridge.enable_compatibility_mode()
    torch.testing.assert_close(from_bridge(bridge)(tokens).log_softmax(-1), before, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"n_key_value_heads": 1}, r"grouped queries \(2 heads share 1"),
        ({"attn_scores_soft_cap": 5.0}, "soft cap"),
        ({"output_logits_soft_cap": 5.0}, "soft cap"),
        ({"gated_mlp": True, "act_fn": "silu"}, "gated MLP"),
        ({"act_fn": "gelu_new"}, "activation 'gelu_new'"),
        ({"act_fn": "solu_ln"}, "activation 'solu_ln'"),
        ({"positional_embedding_type": "rotary", "rotary_dim": 2}, r"on a part of the head \(2 of 4\)"),
        ({"final_rms": True}, "final normalisation of another kind"),
        ({"d_vocab_out": 3}, r"output vocabulary \(3\)"),
        ({"attn_scale": 3.0}, "attention scale other than"),
    ],
    ids=str,
)
def test_bridges_with_what_we_do_not_have_are_refused(lens, options, reason):
    with pytest.raises(InputError, match=f"cannot become a Transformer, which has no .*{reason}"):
        from_bridge(native_bridge(lens, **options))


def test_scaled_rotary_positions_are_refused(lens):
    config = lens.Config(
        d_model=8, d_head=4, n_layers=1, n_heads=2, n_ctx=9, d_vocab=11, attn_only=True,
        positional_embedding_type="rotary", seed=0,
    )  # fmt: skip
    config.rope_scaling = {"rope_type": "linear", "factor": 4.0}
    with pytest.raises(InputError, match="scaled rotary positions"):
        from_bridge(lens.Bridge.boot_native(config))


def test_a_bridge_that_computes_something_else_than_its_config_says_is_refused(lens):
    bridge = native_bridge(lens)
    bridge.add_hook("blocks.0.hook_attn_out", lambda value, hook: value * 2)
    with pytest.raises(InputError, match="the two models' logits differ by"):
        from_bridge(bridge)


def test_something_that_is_no_bridge_is_refused():
    with pytest.raises(InputError, match="this one holds Linear"):
        from_bridge(torch.nn.Linear(2, 2))


SHARED = ["hook_embed", "blocks.{l}.hook_resid_pre", "blocks.{l}.ln1.hook_scale", "blocks.{l}.ln1.hook_normalized"]
SHARED += [f"blocks.{{l}}.attn.hook_{name}" for name in ("q", "k", "v", "z", "pattern")]
SHARED += [
    "blocks.{l}.hook_attn_out",
    "blocks.{l}.hook_resid_mid",
    "blocks.{l}.mlp.hook_pre",
    "blocks.{l}.mlp.hook_post",
]
SHARED += ["blocks.{l}.hook_mlp_out", "blocks.{l}.hook_resid_post", "ln_final.hook_scale", "ln_final.hook_normalized"]


@pytest.mark.parametrize("positions", ["standard", "rotary"])
@pytest.mark.parametrize("normalization", ["LN", "LNPre", "RMS", "RMSPre"])
def test_our_hook_points_hold_what_a_bridges_cache_holds(lens, generator, positions, normalization):
    model = random_model(generator, positions=positions, normalization=normalization, d_mlp=7)
    tokens = some_tokens(generator)
    _, cache = to_bridge(model).run_with_cache(tokens)
    values = {}
    for name, module in model.named_modules():
        if isinstance(module, HookPoint):
            module.register_forward_hook(lambda m, a, value, name=name: values.update({name: value.detach()}))
    model(tokens)
    names = [name.format(l=layer) for name in SHARED for layer in range(2)]
    names += ["hook_pos_embed"] if positions == "standard" else []
    for name in names:
        torch.testing.assert_close(values[name], cache[name], rtol=1e-5, atol=1e-5, msg=f"{name}: {{}}".format)
