"""Reads the weights of bridges that wrap a Hugging Face model: GPT-2, GPT-NeoX (Pythia) and the Llama family."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from interp.errors import InputError
from interp.weights.view import TransformerWeights


@dataclass(frozen=True)
class Family:
    """What the weights of an architecture mean, beyond their shapes; the first three name entries of its config."""

    normalization: Literal["LN", "RMS"]
    eps: str
    activation: str
    gain_offset: float = 0.0
    """Added to the stored gains."""
    scaled_embedding: bool = False
    """Whether embeddings are multiplied by sqrt(d_model)."""


LLAMA = Family("RMS", "rms_norm_eps", "hidden_act")
FAMILIES: dict[str, Family] = {
    "GPT2LMHeadModel": Family("LN", "layer_norm_epsilon", "activation_function"),
    "GPTNeoXForCausalLM": Family("LN", "layer_norm_eps", "hidden_act"),
    "LlamaForCausalLM": LLAMA,
    "MistralForCausalLM": LLAMA,
    "Qwen2ForCausalLM": LLAMA,
    "GemmaForCausalLM": Family("RMS", "rms_norm_eps", "hidden_act", gain_offset=1.0, scaled_embedding=True),
}


def read_foreign(bridge: Any) -> TransformerWeights:
    """The weights as the Hugging Face model has them, nothing folded, copied and detached.

    With grouped queries every head gets its own copy of the keys' and values' weights that it shares. Raises
    `InputError` for an architecture whose weights are not known to mean this, or an option that changes it.
    """
    family, config = family_of(bridge), bridge.original_model.config
    blocks, n_heads = list(bridge.blocks), bridge.cfg.n_heads
    n_kv_heads = bridge.cfg.n_key_value_heads or n_heads
    W_E = bridge.embed.original_component.weight.detach()
    W_U = bridge.unembed.original_component.weight.detach()
    read: dict[str, Any] = {}
    for name, heads in (("q", n_heads), ("k", n_kv_heads), ("v", n_kv_heads)):
        linear = [getattr(block.attn, name).original_component for block in blocks]
        by_head = stacked_matrices(linear).unflatten(-1, (heads, -1)).transpose(1, 2)
        read[f"W_{name.upper()}"] = for_each_query(by_head, n_heads)
        read[f"b_{name.upper()}"] = for_each_query(stacked_biases(linear).unflatten(-1, (heads, -1)), n_heads)
    output = [block.attn.o.original_component for block in blocks]
    sliding = getattr(config, "sliding_window", None) or bridge.cfg.n_ctx
    bias = getattr(bridge.unembed.original_component, "bias", None)
    return TransformerWeights(
        **read,
        **mlps([block.mlp for block in blocks], getattr(config, family.activation)),
        **norms(bridge, family),
        **positions(bridge),
        W_E=W_E * torch.tensor(W_E.shape[1] ** 0.5).to(W_E) if family.scaled_embedding else W_E.clone(),
        W_O=stacked_matrices(output).unflatten(1, (n_heads, -1)),
        b_O=stacked_biases(output),
        W_U=W_U.T.clone(),
        b_U=W_U.new_zeros(len(W_U)) if bias is None else bias.detach().clone(),
        n_ctx=min(bridge.cfg.n_ctx, sliding),
        attn_scale=read["W_Q"].shape[-1] ** 0.5,
        normalization=family.normalization,
        norm_eps=getattr(config, family.eps),
        tied=W_U.data_ptr() == W_E.data_ptr(),
        parallel=bool(getattr(config, "use_parallel_residual", False)),
        n_kv_heads=n_kv_heads,
    )


def family_of(bridge: Any) -> Family:
    """`InputError` naming the first thing about the wrapped model that its weights would not tell."""
    inner, config = type(bridge.original_model).__name__, getattr(bridge.original_model, "config", None)
    rotary = getattr(config, "rope_parameters", None) or {}
    reasons = {
        f"it wraps {inner}; those that are read wrap {', '.join(FAMILIES)}, or are native (boot_native)": (
            inner not in FAMILIES
        ),
        "its weights were changed by enable_compatibility_mode; read it as it was booted": bool(
            getattr(bridge, "compatibility_mode", False)
        ),
        "attention is scaled by layer (scale_attn_by_inverse_layer_idx)": bool(
            getattr(config, "scale_attn_by_inverse_layer_idx", False)
        ),
        "attention scores are not scaled (scale_attn_weights)": not getattr(config, "scale_attn_weights", True),
        f"its rotation changes with the length ({rotary.get('rope_type')})": rotary.get("rope_type", "default")
        not in ("default", "linear", "llama3"),
        "its weights are quantised": not all(p.is_floating_point() for p in bridge.original_model.parameters()),
    }
    for reason, holds in reasons.items():
        if holds:
            raise InputError(f"the weights of this TransformerBridge cannot be read: {reason}")
    return FAMILIES[inner]


def matrix(linear: Any) -> Tensor:
    """The weights of a linear map with rows in and columns out, `x @ W`; Conv1D of GPT-2 stores them so."""
    weight = linear.weight.detach()
    return weight if type(linear).__name__ == "Conv1D" else weight.T


def stacked_matrices(linears: list[Any]) -> Tensor:
    return torch.stack([matrix(linear) for linear in linears])


def stacked_biases(linears: list[Any]) -> Tensor:
    """Biases, zero where there are none."""
    biases = [getattr(linear, "bias", None) for linear in linears]
    rows = zip(linears, biases, strict=True)
    return torch.stack([matrix(row)[0] * 0 if bias is None else bias.detach() for row, bias in rows])


def for_each_query(shared: Tensor, n_heads: int) -> Tensor:
    """[layer kv_head ...] -> [layer head ...]: consecutive heads share keys and values."""
    return shared.repeat_interleave(n_heads // shared.shape[1], dim=1)


def mlps(mlps: list[Any], activation: str) -> dict[str, Any]:
    def linears(name: str) -> list[Any]:
        return [getattr(mlp, name).original_component for mlp in mlps]

    read: dict[str, Any] = {"activation": activation}
    for name in ("in", "out", *(["gate"] if "gate" in mlps[0].submodules else [])):
        found = linears(name)
        read |= {f"W_{name}": stacked_matrices(found), f"b_{name}": stacked_biases(found)}
    return read


def norms(bridge: Any, family: Family) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for letter, word in {"w": "weight", "b": "bias"}.items():
        offset = family.gain_offset if letter == "w" else 0.0
        final = getattr(bridge.ln_final.original_component, word, None)
        if final is not None:
            read[f"ln_final_{letter}"] = final.detach() + offset
            for name in ("ln1", "ln2"):
                each = [getattr(getattr(block, name).original_component, word).detach() for block in bridge.blocks]
                read[f"{name}_{letter}"] = torch.stack(each) + offset
    return read


def positions(bridge: Any) -> dict[str, Any]:
    """A table of positions, or how fast each pair (i, i + rotary_dim / 2) of a head's numbers turns."""
    if "pos_embed" in bridge.adapter.component_mapping:
        return {"W_pos": bridge.pos_embed.original_component.weight.detach().clone()}
    rotary = bridge.rotary_emb.original_component
    scaling = getattr(rotary, "attention_scaling", 1.0)
    if scaling != 1.0:
        raise InputError(f"the weights of this TransformerBridge cannot be read: rotations are scaled by {scaling}")
    frequencies = rotary.inv_freq.detach().double().cpu()
    base = float(bridge.original_model.config.rope_parameters["rope_theta"])
    exact = base ** (-torch.arange(len(frequencies), dtype=torch.float64) / len(frequencies))
    plain = torch.allclose(frequencies, exact, rtol=1e-5, atol=0)
    return {
        "rotary_base": base,
        "rotary_dim": 2 * len(frequencies),
        "rotary_pairs": "halves",
        "rotary_frequencies": None if plain else tuple(frequencies.tolist()),
    }
