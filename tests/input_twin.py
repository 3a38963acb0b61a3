"""A Hugging Face model alone, run by PyTorch's own hooks while inputs of heads, MLPs and the logits are changed.

The slow twin of what `interp` does to bridges: attention is that of transformers throughout. Grouped queries are
taken apart first, each head getting its own copy of the keys and values that it shares.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

Written = dict[str, Tensor]
"""What each sender adds to the residual stream ("token" with the positions, which are the same in every run)."""


def ungrouped(model: Any) -> Any:
    """The same function with as many keys and values as queries."""
    heads, groups = model.config.num_attention_heads, getattr(model.config, "num_key_value_heads", None)
    if groups in (None, heads):
        return model
    config = type(model.config).from_dict(model.config.to_dict() | {"num_key_value_heads": heads})
    config._attn_implementation = "eager"
    twin = type(model)(config).to(model.dtype).eval()
    d_head = head_size(model)
    state = model.state_dict()
    for name, tensor in state.items():
        if ".k_proj." in name or ".v_proj." in name:
            by_head = tensor.unflatten(0, (groups, d_head)).repeat_interleave(heads // groups, dim=0)
            state[name] = by_head.flatten(0, 1)
    twin.load_state_dict(state)
    return twin


def head_size(model: Any) -> int:
    return getattr(model.config, "head_dim", None) or model.config.hidden_size // model.config.num_attention_heads


def parts(model: Any) -> tuple[list[dict[str, Any]], Any]:
    """Of each layer its modules under Llama's names, and the final normalisation."""
    if hasattr(model, "transformer"):
        names = {"ln1": "ln_1", "ln2": "ln_2", "mlp": "mlp", "o": "attn.c_proj"} | dict.fromkeys("QKV", "attn.c_attn")
        blocks, final = model.transformer.h, model.transformer.ln_f
    elif hasattr(model, "gpt_neox"):
        names = {"ln1": "input_layernorm", "ln2": "post_attention_layernorm", "mlp": "mlp", "o": "attention.dense"}
        names |= dict.fromkeys("QKV", "attention.query_key_value")
        blocks, final = model.gpt_neox.layers, model.gpt_neox.final_layer_norm
    else:
        names = {"ln1": "input_layernorm", "ln2": "post_attention_layernorm", "mlp": "mlp", "o": "self_attn.o_proj"}
        names |= {letter: f"self_attn.{letter.lower()}_proj" for letter in "QKV"}
        blocks, final = model.model.layers, model.model.norm
    return [{key: block.get_submodule(name) for key, name in names.items()} for block in blocks], final


def columns(model: Any, channel: str, head: int, d_head: int) -> slice:
    """Where a head's queries, keys or values are in what its linear map returns."""
    heads, at = model.config.num_attention_heads, "QKV".index(channel)
    if hasattr(model, "transformer"):
        start = (at * heads + head) * d_head
    elif hasattr(model, "gpt_neox"):
        start = (3 * head + at) * d_head
    else:
        start = head * d_head
    return slice(start, start + d_head)


def run_changed(
    model: Any, tokens: Tensor, changes: Mapping[str, Callable[[Written], Tensor]]
) -> tuple[Tensor, Written]:
    """Logits and what senders wrote, while each receiver of `changes` reads that much more than it would.

    A change is asked for when its receiver reads, with what was written so far in this run.
    """
    written: Written = {}
    streams: dict[int, Tensor] = {}
    layers, final = parts(model)
    handles = []

    def see(layer: int, module: Any, args: tuple[Tensor, ...]) -> None:
        streams[layer] = args[0]
        if layer == 0:
            written["token"] = args[0]

    def project(layer: int, channel: str, module: Any, args: Any, out: Tensor) -> Tensor:
        out = out.clone()
        for head in range(heads):
            change = changes.get(f"L{layer}H{head}.{channel}")
            if change is not None:
                x = layers[layer]["ln1"].forward(streams[layer] + change(written))
                at = columns(model, channel, head, d_head)
                out[..., at] = module.forward(x)[..., at]
        return out

    def note_heads(layer: int, module: Any, args: tuple[Tensor, ...]) -> None:
        W = module.weight if type(module).__name__ == "Conv1D" else module.weight.T
        for head, (z, own) in enumerate(zip(args[0].split(d_head, -1), W.split(d_head), strict=True)):
            written[f"L{layer}H{head}"] = z @ own

    def add(receiver: str, module: Any, args: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        return (args[0] + changes[receiver](written), *args[1:]) if receiver in changes else None

    heads = model.config.num_attention_heads
    d_head = head_size(model)
    for layer, block in enumerate(layers):
        handles.append(block["ln1"].register_forward_pre_hook(partial(see, layer)))
        handles += [block[c].register_forward_hook(partial(project, layer, c)) for c in "QKV"]
        handles.append(block["o"].register_forward_pre_hook(partial(note_heads, layer)))
        handles.append(block["ln2"].register_forward_pre_hook(partial(add, f"L{layer} MLP")))
        keep = partial(lambda layer, module, args, out: written.update({f"L{layer} MLP": out}), layer)
        handles.append(block["mlp"].register_forward_hook(keep))
    handles.append(final.register_forward_pre_hook(partial(add, "logits")))
    try:
        with torch.no_grad():
            return model(tokens).logits, written
    finally:
        for handle in handles:
            handle.remove()
