"""Running only the layers that a removed head can change, from what the layers before it gave in the intact run."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from interp.ablation.losses import sequence_means
from interp.ablation.removal import Removal
from interp.heads.at_once import parts
from interp.hooks import intervene
from interp.names import Head


def removed_one_by_one(
    model: nn.Module,
    tokens: Int[Tensor, "batch pos"],
    masks: Bool[Tensor, "which batch pos"],
    how: Removal,
    heads: Sequence[Head],
) -> tuple[Float[Tensor, "which quantity batch"], Float[Tensor, "which quantity batch n"]]:
    """`sequence_means` of the whole model, and "removed minus intact" of each of the heads removed by itself.

    Without held patterns nothing before a head's own layer changes, so each run starts there: the same numbers, in
    half the time on average. Sequences run in chunks, so that their logits fit in memory.
    """
    found = [_chunk(model, tokens[part], masks[:, part], how.of(part), heads) for part in parts(model, tokens)]
    intact, effects = (torch.cat(each, dim=2) for each in zip(*found, strict=True))
    return intact, effects


def _chunk(
    model: nn.Module, tokens: Tensor, masks: Tensor, how: Removal, heads: Sequence[Head]
) -> tuple[Tensor, Tensor]:
    layers = set() if how.held else {head.layer for head in heads} - {0}
    with outputs_of_blocks(model, {layer - 1 for layer in layers}) as outputs:
        intact = sequence_means(model, tokens, masks)
    effects = []
    for head in heads:
        with starting_at(model, head.layer, outputs.get(head.layer - 1)), intervene(model, how.edits([head])):
            effects.append(sequence_means(model, tokens, masks) - intact)
    return intact, torch.stack(effects, dim=-1)


@contextmanager
def outputs_of_blocks(model: nn.Module, layers: Iterable[int]) -> Iterator[dict[int, Any]]:
    """A dict that holds what these layers' blocks return, as they return it, once the model has run in the block."""
    outputs: dict[int, Any] = {}

    def keep(layer: int) -> Callable[..., None]:
        return lambda module, args, output: outputs.update({layer: output})

    blocks = blocks_of(model)
    handles = [blocks[layer].register_forward_hook(keep(layer)) for layer in layers if blocks]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def starting_at(model: nn.Module, layer: int, output: Any) -> Iterator[None]:
    """While the block runs, the layers before `layer` compute nothing and hand on `output`; None: all compute."""
    skipped = [] if output is None else blocks_of(model)[:layer]
    own = [(vars(block), vars(block).get("forward")) for block in skipped]  # some libraries wrap single modules so
    try:
        for block in skipped:
            vars(block)["forward"] = lambda *args, **kwargs: output  # hides the class's; bridges redirect setattr
        yield
    finally:
        for attributes, forward in own:
            attributes.pop("forward", None)
            attributes.update({} if forward is None else {"forward": forward})


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """The layers of a transformer, of ours or of a bridge."""
    return list(getattr(model, "blocks", None) or [])
