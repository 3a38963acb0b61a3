"""The share of the in-context gain that a set of heads carries: without it, and with nothing else."""

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import combinations, product
from math import comb, prod
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from interp.ablation.losses import scored_masks, sequence_means
from interp.ablation.removal import Removal, To, removal
from interp.errors import InputError
from interp.hooks import intervene
from interp.names import Head, check
from interp.stats import Estimate, bootstrap_interval, monte_carlo_p_value
from interp.stats.ratios import Resamples, resample
from interp.weights.shape import ModelShape, shape_of

HeadSet = tuple[Head, ...]
NO_GAIN = "the model's gain cannot be told from 0, so there is nothing to share"


@dataclass(frozen=True, eq=False)
class Shares:
    """What becomes of the gain, in shares of the whole model's, by one way of removing heads."""

    lost: Estimate
    """With the set removed: what goes."""
    kept: Estimate
    """With all other heads removed: what stays."""
    text: str

    def to_dict(self) -> dict[str, Any]:
        return {"lost": self.lost.to_dict(), "kept": self.kept.to_dict(), "text": self.text}


@dataclass(frozen=True, eq=False)
class OtherSets:
    """The same shares of other sets with as many heads in each layer, by mean."""

    sets: tuple[HeadSet, ...]
    lost: Float[Tensor, " set"]
    kept: Float[Tensor, " set"]
    p_lost: float
    """(1 + sets that lose at least as much) / (1 + sets)."""
    p_kept: float
    text: str

    def to_dict(self) -> dict[str, Any]:
        shares = {"lost": self.lost.tolist(), "kept": self.kept.tolist()}
        names = [[str(head) for head in heads] for heads in self.sets]
        return {"sets": names, **shares, "p_lost": self.p_lost, "p_kept": self.p_kept, "text": self.text}


@dataclass(frozen=True, eq=False)
class Carried:
    """How much of the gain (loss on unpredictable minus predictable tokens) a set of heads carries."""

    heads: HeadSet
    gain: Estimate
    """Of the whole model, nats."""
    by: dict[str, Shares]
    """By what removed heads write instead; empty where the gain cannot be told from 0."""
    others: OtherSets | None
    """None where there is no other set of this make, or no gain."""
    reason: str = ""
    """Why there are no shares."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "heads": [str(head) for head in self.heads],
            "gain": self.gain.to_dict(),
            "by": {to: shares.to_dict() for to, shares in self.by.items()},
            "other_sets": None if self.others is None else self.others.to_dict(),
            "reason": self.reason,
        }


def carried_share(
    model: nn.Module,
    heads: Iterable[Head],
    tokens: Int[Tensor, "batch pos"],
    predictable: Bool[Tensor, "batch pos"],
    generator: torch.Generator,
    *,
    ways: tuple[To, ...] = ("mean", "resample"),
    reference: Int[Tensor, "batch pos"] | None = None,
    most: int = 200,
    level: float = 0.95,
) -> Carried:
    """1 - gain(set removed) / gain(intact) and gain(all else removed) / gain(intact), with intervals over sequences.

    gain = mean loss on the unpredictable minus that on the predictable tokens of a sequence, position 0 left out. Heads
    are removed by `interp.ablation.removal`, in each of `ways` ("resample" from `reference`, such as tokens that do not
    repeat, if it is given); MLPs and embeddings stay. A share may lie outside 0..1:
    with heads removed, a model may do worse than without context. Beside it the same, by mean, for all other sets with
    as many heads in each layer, or `most` random ones of them; they may share heads with the set.

    Ratios are resampled as a whole; where the gain is not surely above 0 no share is given and `reason` says so.
    Raises `InputError` without a head, and for masks that leave a sequence without either kind of token.
    """
    shape, masks = shape_of(model), scored_masks(tokens, predictable)
    if not bool(masks.any(-1).all()):
        raise InputError("a gain needs a predictable and an unpredictable token in every sequence")
    chosen = tuple(sorted({check(Head(*head), shape.n_layers, shape.n_heads) for head in heads}))
    if not chosen:
        raise InputError("name at least one head, whose share of the gain is to be measured")
    run = Gains(model, tokens, masks, tuple(shape.heads))
    intact = run.of(removal(model, tokens, "zero"), ())
    gain = bootstrap_interval(intact, generator, level)
    draws = resample(len(intact), generator, level)
    if gain.mean <= 0 or not draws.can_divide_by(intact):
        return Carried(chosen, gain, {}, None, NO_GAIN)
    by: dict[str, Shares] = {}
    for to in ways:
        source = reference if to == "resample" else None
        how = removal(model, tokens, to, reference=source, generator=generator)
        by[to] = _shares(run, how, chosen, intact, draws)
    others = _other_sets(run, removal(model, tokens, "mean"), shape, chosen, intact, most, generator)
    return Carried(chosen, gain, by, others)


@dataclass(frozen=True, eq=False)
class Gains:
    """The gain of each sequence with heads removed."""

    model: nn.Module
    tokens: Tensor
    masks: Tensor
    heads: HeadSet

    def of(self, how: Removal, removed: Iterable[Head]) -> Float[Tensor, " batch"]:
        edits = how.edits(removed)
        with intervene(self.model, edits) if edits else nullcontext():
            losses = sequence_means(self.model, self.tokens, self.masks)[:, 0]
        return losses[1] - losses[0]

    def without_and_alone(self, how: Removal, kept: HeadSet) -> tuple[Tensor, Tensor]:
        """The gain without these heads, and with no others."""
        return self.of(how, kept), self.of(how, [head for head in self.heads if head not in kept])


def _shares(run: Gains, how: Removal, chosen: HeadSet, intact: Tensor, draws: Resamples) -> Shares:
    without, alone = run.without_and_alone(how, chosen)
    both = draws.ratio(torch.stack([intact - without, alone], dim=1), intact)
    return Shares(both[0], both[1], how.text)


def _other_sets(
    run: Gains,
    how: Removal,
    shape: ModelShape,
    chosen: HeadSet,
    intact: Tensor,
    most: int,
    generator: torch.Generator,
) -> OtherSets | None:
    sets, text = sets_like(shape, chosen, most, generator)
    if not sets:
        return None
    gains = torch.stack([torch.stack(run.without_and_alone(how, each)).mean(1) for each in (chosen, *sets)])
    lost, kept = 1 - gains[:, 0] / intact.mean(), gains[:, 1] / intact.mean()
    p_lost, p_kept = (monte_carlo_p_value(float(share[0]), share[1:]) for share in (lost, kept))
    return OtherSets(sets, lost[1:], kept[1:], p_lost, p_kept, text)


def sets_like(
    shape: ModelShape, chosen: HeadSet, most: int, generator: torch.Generator
) -> tuple[tuple[HeadSet, ...], str]:
    """Different sets with as many heads in each layer as `chosen`, all if there are at most `most`; and in words."""
    sizes = [sum(head.layer == layer for head in chosen) for layer in range(shape.n_layers)]
    count = prod(comb(shape.n_heads, size) for size in sizes) - 1
    make = f"sets of {' + '.join(map(str, sizes))} heads by layer"
    if count <= most:
        layers = [
            combinations([Head(layer, index) for index in range(shape.n_heads)], size)
            for layer, size in enumerate(sizes)
        ]
        every = (tuple(head for part in parts for head in part) for parts in product(*layers))
        return tuple(each for each in every if each != chosen), f"all {count} other {make}"
    found: set[HeadSet] = set()
    while len(found) < most:
        picks = [torch.randperm(shape.n_heads, generator=generator)[:size].sort().values.tolist() for size in sizes]
        drawn = tuple(Head(layer, index) for layer, indices in enumerate(picks) for index in indices)
        found |= {drawn} - {chosen}
    return tuple(sorted(found)), f"{most} random ones of {count} other {make}"
