"""One head that reads, and what is left of its pattern and of the model when earlier heads leave one of its inputs."""

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property

import torch
from einops import einsum
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from interp.ablation.head_inputs import (
    Channel,
    check_computed_anew,
    has_split_inputs,
    head_input_edits,
    head_pattern,
    window_of,
)
from interp.ablation.losses import device_of, masked_means, target_values
from interp.ablation.removal import Over, Removal, To, removal
from interp.hooks import intervene, record
from interp.names import Head, pattern_name, resid_pre_name, z_name
from interp.weights import TransformerWeights, weights_of

PatternScore = Callable[[Float[Tensor, "batch head dest src"], Int[Tensor, "batch pos"]], Float[Tensor, "batch head"]]


@dataclass(frozen=True, eq=False)
class HeadOutputs:
    """What all heads write in the intact model, from one pass over some tokens; the same for every reader."""

    model: nn.Module
    tokens: Int[Tensor, "batch pos"]
    weights: TransformerWeights
    """Unfolded."""
    how: Removal
    z: dict[int, Float[Tensor, "batch pos head d_head"]]
    """By layer."""
    streams: dict[int, Float[Tensor, "batch pos d_model"]]
    """What each layer reads; none where the model has inputs split by head."""


def head_outputs(
    model: nn.Module,
    tokens: Int[Tensor, "batch pos"],
    to: To = "mean",
    over: Over = "batch and positions",
    reference: Int[Tensor, "reference_batch reference_pos"] | None = None,
    generator: torch.Generator | None = None,
    weights: TransformerWeights | None = None,
) -> HeadOutputs:
    """Measured once; `weights` are the model's, unfolded, where they have been read, the rest is as in `removal`.

    Raises `InputError` for a model whose attention cannot be computed anew where it has no inputs split by head.
    """
    tokens = tokens.to(device_of(model))
    w = weights_of(model, fold=False) if weights is None else weights
    check_computed_anew(model, w, tokens[:2])
    how, layers = removal(model, tokens, to, over, reference, generator), range(w.n_layers)
    points = [z_name, *([] if has_split_inputs(model) else [resid_pre_name])]
    found = record(model, tokens, names=[point(layer) for point in points for layer in layers])
    z, *streams = ({layer: found[point(layer)] for layer in layers} for point in points)
    return HeadOutputs(model, tokens, w, how, z, streams[0] if streams else {})


class Reader:
    """Pattern score of one head, and loss of the model, with earlier heads taken out of one of its inputs or not."""

    def __init__(self, outputs: HeadOutputs, head: Head, scored: Bool[Tensor, "batch pos"], score: PatternScore):
        self.outputs, self.head, self.scored, self.score = outputs, head, scored, score
        heads = outputs.weights.n_heads
        self.earlier = [Head(layer, index) for layer in range(head.layer) for index in range(heads)]

    @cached_property
    def intact(self) -> Float[Tensor, "which batch"]:
        """Score and loss of the whole model."""
        return self.without("K", [])

    def without(self, channel: Channel, heads: Iterable[Head]) -> Float[Tensor, "which batch"]:
        """Score and loss, from a run in which what these heads write is missing in the input."""
        gone, (model, tokens, index) = list(heads), (self.outputs.model, self.outputs.tokens, self.head.index)
        change = -self._written(gone) if gone else None
        edits = {}
        if change is not None:
            changes = {(self.head, channel): [(slice(None), lambda: change)]}
            edits = head_input_edits(model, self.outputs.weights, changes)
        name = pattern_name(self.head.layer)
        with intervene(model, edits) if edits else nullcontext():
            seen = record(model, tokens, names=name, reduce=lambda p: self.score(p[:, index : index + 1], tokens))
        loss = masked_means(target_values(seen.output, tokens)[:1], self.scored[None])[0, 0]
        return torch.stack([seen[name][:, 0].cpu().double(), loss])

    def score_without(self, channel: Channel, heads: Iterable[Head]) -> Float[Tensor, " batch"]:
        """The score alone: without a run, where the model has no inputs split by head."""
        gone, stream = list(heads), self.outputs.streams.get(self.head.layer)
        if stream is None:
            return self.without(channel, gone)[0] if gone else self.intact[0]
        changed = stream - self._written(gone) if gone and channel in ("Q", "K") else stream
        q_in, k_in = (changed if channel == each else stream for each in ("Q", "K"))
        window = window_of(self.outputs.model, self.head.layer)
        pattern = head_pattern(self.outputs.weights, self.head, q_in, k_in, window)
        return self.score(pattern[:, None], self.outputs.tokens)[:, 0].cpu().double()

    def _written(self, heads: list[Head]) -> Float[Tensor, "batch pos d_model"]:
        """What these heads write together, less what stands in for it."""
        rest = [head for head in self.earlier if head not in heads]
        return self._everything - self._sum(rest) if len(rest) < len(heads) else self._sum(heads)

    @cached_property
    def _everything(self) -> Float[Tensor, "batch pos d_model"]:
        return self._sum(self.earlier)

    def _sum(self, heads: list[Head]) -> Float[Tensor, "batch pos d_model"]:
        w, how = self.outputs.weights, self.outputs.how
        total = torch.zeros_like(self.outputs.z[0][:, :, 0] @ w.W_O[0, 0])
        for layer in sorted({head.layer for head in heads}):
            own = [head.index for head in heads if head.layer == layer]
            z = self.outputs.z[layer] if how.to == "zero" else self.outputs.z[layer] - how.instead[layer]
            total = total + einsum(z[:, :, own], w.W_O[layer, own], "batch pos head d, head d m -> batch pos m")
        return total
