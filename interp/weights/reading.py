"""Reads the weights of models that are understood: ours, and TransformerLens' bridges; none is imported."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from interp.errors import InputError
from interp.weights.foreign import read_foreign
from interp.weights.view import TransformerWeights


def read_weights(model: Any) -> TransformerWeights:
    """The weights as the model has them, nothing folded, copied and detached.

    Raises `InputError` for a model of another kind, for an architecture whose attention is not
    `softmax(q k^T / scale)` per head with its own keys and values, and for weights that are not finite.
    """
    if is_bridge(model):
        return read_bridge(model) if type(model.original_model).__name__ == "NativeModel" else read_wrapped(model)
    if hasattr(getattr(model, "config", None), "positions") and hasattr(model, "W_Q"):
        return read_ours(model)
    raise InputError(
        "weights are read from a toy_models.Transformer or a TransformerLens TransformerBridge, "
        f"got {type(model).__name__}"
    )


def is_bridge(model: Any) -> bool:
    return any(
        cls.__name__ == "TransformerBridge" and cls.__module__.startswith("transformer_lens")
        for cls in type(model).__mro__
    )


def check_finite(tensors: Mapping[str, Tensor]) -> None:
    """`InputError` naming the first tensor that holds a NaN or an infinity."""
    for name, tensor in tensors.items():
        if not bool(tensor.isfinite().all()):
            bad = int((~tensor.isfinite()).sum())
            raise InputError(f"{name} has {bad} of {tensor.numel()} values that are NaN or infinite")


def read_ours(model: Any) -> TransformerWeights:
    config = model.config
    check_finite(model.state_dict())
    matrices = ("W_E", "W_Q", "W_K", "W_V", "W_O", "W_U", "b_Q", "b_K", "b_V", "b_O", "b_U")
    read: dict[str, Any] = {name: copy(getattr(model, name)) for name in matrices}
    blocks, rotary = list(model.blocks), config.positions == "rotary"
    if config.positions == "standard":
        read["W_pos"] = copy(model.W_pos)
    if config.positions == "shortformer":
        read["W_pos_attn"] = copy(model.W_pos).repeat(config.n_layers, 1, 1)
    if blocks and config.smeared_keys:
        read["smear"] = torch.stack([copy(block.attn.smear.sigmoid()) for block in blocks])
    if blocks and config.d_mlp:
        read |= mlp_weights([block.mlp for block in blocks], config)
        read |= gains("ln2", [block.ln2 for block in blocks])
    return TransformerWeights(
        **read,
        **gains("ln1", [block.ln1 for block in blocks]),
        **{name: value[0] for name, value in gains("ln_final", [model.ln_final]).items()},
        n_ctx=config.n_ctx,
        attn_scale=math.sqrt(config.d_head),
        normalization=config.normalization,
        norm_eps=config.norm_eps,
        attention_dir=getattr(config, "attention_dir", "causal"),
        rotary_base=config.rotary_base if rotary else None,
        rotary_dim=config.d_head if rotary else 0,
        tied=config.tied_embeddings,
    )


def gains(name: str, norms: list[Any]) -> dict[str, Any]:
    """Learned gain `{name}_w` and bias `{name}_b` of these normalisations, stacked, where they have them."""
    found = {}
    for kind in ("w", "b"):
        each = [getattr(norm, kind, None) for norm in norms]
        if each and each[0] is not None:
            found[f"{name}_{kind}"] = torch.stack([copy(tensor) for tensor in each if tensor is not None])
    return found


def mlp_weights(mlps: list[Any], config: Any) -> dict[str, Any]:
    zeros = {"b_in": mlps[0].W_in.new_zeros(config.d_mlp), "b_out": mlps[0].W_in.new_zeros(config.d_model)}
    read: dict[str, Any] = {"activation": config.activation}
    for name in ("W_in", "b_in", "W_out", "b_out"):
        each = [getattr(mlp, name) for mlp in mlps]
        read[name] = torch.stack([zeros[name] if tensor is None else copy(tensor) for tensor in each])
    return read


def copy(tensor: Tensor) -> Tensor:
    return tensor.detach().clone()


def read_wrapped(bridge: Any) -> TransformerWeights:
    w = read_foreign(bridge)
    check_finite(w.tensors())
    return w


def read_bridge(bridge: Any) -> TransformerWeights:
    config = bridge.cfg
    refuse_unread_options(bridge)
    state = {name: tensor.detach() for name, tensor in bridge.state_dict().items()}
    check_finite(state)
    W_E, layers, heads, d_head = state["embed.weight"], config.n_layers, config.n_heads, config.d_head
    rotary = str(config.positional_embedding_type).lower() == "rotary"

    def stack(name: str, shape: tuple[int, ...]) -> Tensor:
        missing = torch.zeros(shape, dtype=W_E.dtype, device=W_E.device)
        each = [state.get(f"blocks.{layer}.{name}", missing).reshape(shape) for layer in range(layers)]
        return torch.stack(each) if each else missing.new_zeros(0, *shape)

    def per_head(name: str) -> Tensor:
        return stack(f"attn.{name}.weight", (heads, d_head, config.d_model)).transpose(2, 3).clone()

    read: dict[str, Any] = {f"W_{x.upper()}": per_head(x) for x in ("q", "k", "v")}
    read |= {f"b_{x.upper()}": stack(f"attn.{x}.bias", (heads, d_head)) for x in ("q", "k", "v")}
    if layers and not config.attn_only:
        read["W_in"] = stack("mlp.in.weight", (config.d_mlp, config.d_model)).transpose(1, 2).clone()
        read["W_out"] = stack("mlp.out.weight", (config.d_model, config.d_mlp)).transpose(1, 2).clone()
        read["b_in"], read["b_out"] = stack("mlp.in.bias", (config.d_mlp,)), stack("mlp.out.bias", (config.d_model,))
        read["activation"] = config.act_fn
    kind = normalization_of(config)
    for letter, word in {"w": "weight", "b": "bias"}.items():
        if f"ln_final.{word}" in state:
            read[f"ln_final_{letter}"] = copy(state[f"ln_final.{word}"])
            names = ("ln1",) if config.attn_only else ("ln1", "ln2")
            read |= {f"{name}_{letter}": stack(f"{name}.{word}", (config.d_model,)) for name in names}
    return TransformerWeights(
        **read,
        W_E=copy(W_E),
        W_O=stack("attn.o.weight", (config.d_model, heads * d_head))
        .transpose(1, 2)
        .unflatten(1, (heads, d_head))
        .clone(),
        b_O=stack("attn.o.bias", (config.d_model,)),
        W_U=state["unembed.weight"].T.clone(),
        b_U=copy(state["unembed.bias"]) if "unembed.bias" in state else W_E.new_zeros(len(state["unembed.weight"])),
        n_ctx=config.n_ctx,
        attn_scale=config.attn_scale if config.use_attn_scale and config.attn_scale > 0 else math.sqrt(d_head),
        normalization=kind,  # type: ignore[arg-type]
        norm_eps=config.eps,
        attention_dir=config.attention_dir,
        W_pos=None if rotary else copy(state["pos_embed.weight"]),
        rotary_base=float(config.rotary_base) if rotary else None,
        rotary_dim=(config.rotary_dim or d_head) if rotary else 0,
    )


def normalization_of(config: Any) -> str:
    kinds = {kind.upper(): kind for kind in ("LN", "LNPre", "RMS", "RMSPre")}
    kind = config.normalization_type
    return "none" if kind is None else kinds[kind.upper()]


def refuse_unread_options(bridge: Any) -> None:
    """`InputError` naming the first option of a bridge that changes what its weights mean."""
    config = bridge.cfg
    kind = config.normalization_type
    scaling = getattr(config, "rope_scaling", None)
    reasons = {
        "heads share keys and values (n_key_value_heads, GQA)": (
            (config.n_key_value_heads or config.n_heads) != config.n_heads
        ),
        "attention and MLP run in parallel (parallel_attn_mlp)": bool(config.parallel_attn_mlp),
        "its MLP is gated": bool(config.gated_mlp) and not config.attn_only,
        "its MLP normalises in the middle (solu_ln)": config.act_fn == "solu_ln" and not config.attn_only,
        "attention scores are capped": config.attn_scores_soft_cap > 0,
        "logits are capped": config.output_logits_soft_cap > 0,
        f"attention_dir={config.attention_dir!r} is unknown": config.attention_dir not in ("causal", "bidirectional"),
        "rotary positions are rescaled (rope_scaling)": isinstance(scaling, dict),
        f"normalization_type={kind!r} is unknown": kind is not None
        and str(kind).upper() not in ("LN", "LNPRE", "RMS", "RMSPRE"),
        "its final normalisation is of another kind (final_rms)": bool(config.final_rms)
        and str(kind).upper() not in ("RMS", "RMSPRE"),
    }
    for reason, holds in reasons.items():
        if holds:
            raise InputError(f"the weights of this TransformerBridge cannot be read: {reason}")
