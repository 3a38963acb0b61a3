"""A model run by hooks with every input of every node rebuilt from what was written: the slow twin of `run_graph`."""

from collections.abc import Mapping

import torch
from torch import Tensor

from interp.edges import Edge, Graph
from interp.hooks import intervene
from toy_models.transformer import Transformer


def logits_by_hooks(
    model: Transformer, graph: Graph, tokens: Tensor, masks: Mapping[Edge, float], others: Mapping[str, Tensor]
) -> Tensor:
    """Logits of our own model while hooks put sum_s m_e out_s + (1 - m_e) other_s (+ b_O) into every input.

    Positions that are added after the normalisation (shortformer) are out of these hooks' reach: they stay.
    """
    c = model.config
    written: dict[str, Tensor] = {}

    def read(receiver: str, layers: int) -> Tensor:
        total = torch.zeros(len(tokens), tokens.shape[1], c.d_model, dtype=torch.float64)
        for sender in graph.senders[: graph.n_before(receiver)]:
            edge = Edge(sender, receiver)
            if edge in masks and sender in written:
                total = total + masks[edge] * written[sender] + (1 - masks[edge]) * others[sender]
        return total + sum((block.attn.b_O for block in model.blocks[:layers] if c.biases), torch.zeros(()))

    def note(sender: str):
        def keep(value: Tensor) -> Tensor:
            written[sender] = value.clone()
            return value

        return keep

    def note_heads(layer: int):
        def keep(z: Tensor) -> Tensor:
            for index in range(c.n_heads):
                written[f"L{layer}H{index}"] = z[:, :, index] @ model.blocks[layer].attn.W_O[index]
            return z

        return keep

    def put(layer: int, channel: str):
        def edit(value: Tensor) -> Tensor:
            return torch.stack([read(f"L{layer}H{h}.{channel}", layer) for h in range(c.n_heads)], dim=2)

        return edit

    edits = {"hook_embed": note("token")}
    if c.positions == "standard":
        edits["hook_pos_embed"] = note("position")
    for layer in range(c.n_layers):
        for channel in "QKV":
            edits[f"blocks.{layer}.hook_{channel.lower()}_input"] = put(layer, channel)
        edits[f"blocks.{layer}.attn.hook_z"] = note_heads(layer)
        if c.d_mlp:
            edits[f"blocks.{layer}.hook_resid_mid"] = lambda value, layer=layer: read(f"L{layer} MLP", layer + 1)
            edits[f"blocks.{layer}.hook_mlp_out"] = note(f"L{layer} MLP")
    edits[f"blocks.{c.n_layers - 1}.hook_resid_post"] = lambda value: read("logits", c.n_layers)
    with torch.no_grad(), intervene(model, edits):
        return model(tokens)
