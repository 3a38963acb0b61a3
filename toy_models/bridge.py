"""To and from TransformerLens: a `TransformerBridge` over its own small model, as `boot_native` makes them.

Both directions copy the weights, keep dtype and device, and end by running both models on the same tokens: the logits
must agree, so that an option that TransformerLens accepts and ignores cannot pass unseen. TransformerLens is imported
when `to_bridge` is called.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from toy_models.config import TransformerConfig
from toy_models.errors import InputError
from toy_models.transformer import Transformer

TransformerBridge = Any
"""transformer_lens.model_bridge.TransformerBridge, which is imported when it is needed."""
KINDS = {"LN": "LN", "LNPRE": "LNPre", "RMS": "RMS", "RMSPRE": "RMSPre"}


def to_bridge(model: Transformer) -> TransformerBridge:
    """The same function as a TransformerLens bridge: logits equal to 1e-5, weights copied.

    TransformerLens' model has no tied embeddings, fixed tables, missing biases or missing positions. There W_U becomes
    a copy of W_E transposed, a sinusoidal table a trained one, missing biases become zeros, and a model without
    positions gets a table of zeros. Its head has no bias; it is given one if the model has biases.
    Raises `InputError` for shortformer positions and smeared keys, which TransformerLens 4 does not have, and for
    weights that are not finite.
    """
    config = model.config
    if config.positions == "shortformer":
        raise InputError("TransformerLens 4 has no shortformer positions, so this model cannot become a bridge")
    if config.smeared_keys:
        raise InputError("TransformerLens has no smeared keys, so this model cannot become a bridge")
    for name, tensor in model.state_dict().items():
        if not bool(tensor.isfinite().all()):
            raise InputError(f"{name} holds values that are NaN or infinite")
    bridge = empty_bridge(config, model.W_E)
    if config.biases:
        give_bias(bridge.unembed.original_component)
    ours = {**model.state_dict(), "unembed.W_U": model.W_U.detach()}
    for name, tensor in bridge.state_dict().items():
        mine, shape = ours_for(name)
        tensor.zero_() if mine not in ours else tensor.copy_(rearrange(ours[mine], shape))
    bridge.train(model.training)
    check_same_logits(model, bridge)
    return bridge


def from_bridge(bridge: TransformerBridge) -> Transformer:
    """The same function as a `Transformer`: logits equal to 1e-5, weights copied.

    Reads bridges that `TransformerBridge.boot_native` made. The result has learned positions, biases and untied
    embeddings, as such a bridge has. Raises `InputError` for what `Transformer` does not have: other architectures,
    grouped queries, soft caps, gated MLPs, other activations, scaled or partial rotary positions, and so on.
    """
    native = getattr(bridge, "original_model", None)
    if type(native).__name__ != "NativeModel":
        wrapped = type(bridge if native is None else native).__name__
        raise InputError(f"from_bridge reads bridges made by TransformerBridge.boot_native, this one holds {wrapped}")
    if reason := next(unsupported(bridge), None):
        raise InputError(f"this bridge cannot become a Transformer, which has no {reason}")
    config = config_of(bridge)
    model = Transformer(config, generator=torch.Generator())
    embedding = bridge.state_dict()["embed.weight"]
    model.to(embedding.device, embedding.dtype).train(bridge.training)
    own = model.state_dict()
    for name, tensor in bridge.state_dict().items():
        mine, shape = ours_for(name)
        own[mine].copy_(rearrange(tensor, reverse(shape), **sizes(shape, config)))
    check_same_logits(model, bridge)
    return model


def empty_bridge(config: TransformerConfig, like: Tensor) -> TransformerBridge:
    """A bridge of the config's shape, with the dtype and device of `like`; its weights are to be filled in."""
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge import TransformerBridge as Bridge

    theirs = TransformerBridgeConfig(
        d_model=config.d_model,
        d_head=config.d_head,
        n_layers=config.n_layers,
        n_ctx=config.n_ctx,
        n_heads=config.n_heads,
        d_vocab=config.d_vocab,
        attn_only=not config.d_mlp,
        d_mlp=config.d_mlp or None,
        act_fn=config.activation,
        normalization_type=None if config.normalization == "none" else config.normalization,
        positional_embedding_type="rotary" if config.positions == "rotary" else "standard",
        attention_dir=config.attention_dir,
        eps=config.norm_eps,
        init_weights=False,
        dtype=like.dtype,
    )
    theirs.rotary_base = config.rotary_base  # its constructor cuts off the decimals
    with torch.random.fork_rng(devices=[]):
        return Bridge.boot_native(theirs, device=like.device, dtype=like.dtype)


def give_bias(head: nn.Linear) -> None:
    """Turns the buffer of zeros that the bridge put in the place of the head's bias into a parameter."""
    zeros = head.bias
    del head.bias
    head.bias = nn.Parameter(zeros)


ATTENTION_SHAPES = {
    "q": ("Q", "head d_model d_head -> (head d_head) d_model", "head d_head -> (head d_head)"),
    "k": ("K", "head d_model d_head -> (head d_head) d_model", "head d_head -> (head d_head)"),
    "v": ("V", "head d_model d_head -> (head d_head) d_model", "head d_head -> (head d_head)"),
    "o": ("O", "head d_head d_model -> d_model (head d_head)", "d_model -> d_model"),
}


def ours_for(name: str) -> tuple[str, str]:
    """For a tensor of a bridge's state dict: our name, and how einops turns ours into theirs."""
    module, _, kind = name.rpartition(".")
    parent, _, part = module.rpartition(".")
    weight = kind == "weight"
    if parent.endswith("attn"):
        letter, matrix, bias = ATTENTION_SHAPES[part]
        return f"{parent}.{'W' if weight else 'b'}_{letter}", matrix if weight else bias
    if parent.endswith("mlp"):
        return (f"{parent}.W_{part}", "i o -> o i") if weight else (f"{parent}.b_{part}", "o -> o")
    if part == "unembed":
        return ("unembed.W_U", "i o -> o i") if weight else ("unembed.b_U", "o -> o")
    if part in ("embed", "pos_embed"):
        return f"{part}.W_{'E' if part == 'embed' else 'pos'}", "i o -> i o"
    return f"{module}.{'w' if weight else 'b'}", "o -> o"


def reverse(shape: str) -> str:
    left, right = shape.split(" -> ")
    return f"{right} -> {left}"


def sizes(shape: str, config: TransformerConfig) -> dict[str, int]:
    return {"head": config.n_heads} if "(head d_head)" in shape else {}


def unsupported(bridge: TransformerBridge) -> Iterator[str]:
    """What of a native bridge `Transformer` does not have, most telling first."""
    cfg: Any = bridge.cfg
    if cfg.n_key_value_heads not in (None, cfg.n_heads):
        yield f"grouped queries ({cfg.n_heads} heads share {cfg.n_key_value_heads} keys and values)"
    if cfg.attn_scores_soft_cap > 0 or cfg.output_logits_soft_cap > 0:
        yield "soft cap on scores or logits"
    if not cfg.attn_only and cfg.gated_mlp:
        yield "gated MLP"
    if not cfg.attn_only and (cfg.act_fn or "gelu").lower() not in ("gelu", "relu"):
        yield f"activation {cfg.act_fn!r} (only exact gelu, and relu)"
    if is_rotary(cfg) and cfg.rotary_dim not in (None, cfg.d_head):
        yield f"rotary positions on a part of the head ({cfg.rotary_dim} of {cfg.d_head})"
    if is_rotary(cfg) and getattr(cfg, "rope_scaling", None):
        yield f"scaled rotary positions ({cfg.rope_scaling})"
    if cfg.attention_dir not in ("causal", "bidirectional"):
        yield f"attention_dir {cfg.attention_dir!r}"
    if cfg.final_rms and not kind_of_norm(cfg).startswith("RMS"):
        yield "final normalisation of another kind than the others"
    if cfg.d_vocab_out not in (-1, cfg.d_vocab):
        yield f"output vocabulary ({cfg.d_vocab_out}) other than the input's ({cfg.d_vocab})"
    scales = {float(block.attn.original_component.scale) for block in bridge.blocks}
    if scales - {math.sqrt(cfg.d_head)}:
        yield f"attention scale other than sqrt(d_head) ({max(scales)})"


def config_of(bridge: TransformerBridge) -> TransformerConfig:
    cfg: Any = bridge.cfg
    return TransformerConfig(
        n_layers=cfg.n_layers,
        n_heads=cfg.n_heads,
        d_model=cfg.d_model,
        d_head=cfg.d_head,
        d_vocab=cfg.d_vocab,
        n_ctx=cfg.n_ctx,
        positions="rotary" if is_rotary(cfg) else "standard",
        attention_dir=cfg.attention_dir,
        normalization=kind_of_norm(cfg),  # type: ignore[arg-type]
        d_mlp=0 if cfg.attn_only else cfg.d_mlp,
        activation="relu" if not cfg.attn_only and (cfg.act_fn or "").lower() == "relu" else "gelu",
        norm_eps=float(cfg.eps),
        rotary_base=float(cfg.rotary_base),
    )


def is_rotary(cfg: Any) -> bool:
    return (cfg.positional_embedding_type or "standard").lower() == "rotary"


def kind_of_norm(cfg: Any) -> str:
    return "none" if cfg.normalization_type is None else KINDS.get(cfg.normalization_type.upper(), "LN")


@torch.no_grad()
def check_same_logits(model: Transformer, bridge: TransformerBridge) -> None:
    """`InputError` unless both give the same logits on two sequences of tokens, to 1e-5 of the largest."""
    pos = min(model.config.n_ctx, 16)
    tokens = (torch.arange(2 * pos, device=model.W_E.device) * 7 % model.config.d_vocab).view(2, pos)
    ours, theirs = model(tokens), bridge(tokens)
    tolerance = max(1e-5, 16 * torch.finfo(ours.dtype).eps) * max(1.0, float(ours.abs().max()))
    difference = float((ours - theirs).abs().max())
    if not difference <= tolerance:
        raise InputError(
            f"the two models' logits differ by {difference:.2g}: the bridge has something that Transformer has not "
            "(hooks, or an option set after it was made)"
        )
