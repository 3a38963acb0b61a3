"""What removing one head at a time does to the loss, by two ways of removing it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from interp.ablation import HeadEffects, head_effects
from interp.ablation.heads import ELSEWHERE, removal_effect
from interp.ablation.losses import scored_masks, sequence_means
from interp.ablation.removal import To, removal
from interp.names import Head
from interp.stats import Estimate, Estimates, bootstrap_interval

REMOVALS: tuple[To, ...] = ("mean", "zero")


@dataclass(frozen=True, eq=False)
class Effects:
    """Increase of the loss in nats per token when a head is removed, [layer head], with intervals over sequences.

    "mean" puts the head's mean output over sequences and positions in its place, "zero" nothing.
    """

    by: dict[str, HeadEffects]
    specific: dict[str, Estimates]
    """Effect on predictable tokens minus effect elsewhere, sequence by sequence."""

    @property
    def predictable(self) -> dict[str, Estimates]:
        return {to: effects.loss.interval for to, effects in self.by.items()}

    @property
    def elsewhere(self) -> dict[str, Estimates]:
        return {to: effects.elsewhere.interval for to, effects in self.by.items() if effects.elsewhere is not None}

    @property
    def loss(self) -> float:
        """Of the whole model on the predictable tokens."""
        return self.by["mean"].intact["loss"]

    def comparisons(self, to: str, head: tuple[int, int]) -> dict[str, float]:
        """The effects to compare with: of the other heads of the layer, and on the other tokens."""
        scores = self.by[to].loss
        return {name: float(value[head]) for name, value in {**scores.nulls, **scores.also}.items()}

    def to_dict(self) -> dict[str, Any]:
        return {to: {**effects.to_dict(), "specific": self.specific[to].to_dict()} for to, effects in self.by.items()}


def measure_effects(
    model: nn.Module,
    tokens: Int[Tensor, "batch pos"],
    predictable: Bool[Tensor, "batch pos"],
    generator: torch.Generator,
    level: float,
    heads: Sequence[Head] | None = None,
) -> Effects:
    """Every head (or those of `heads`) removed by itself, scored on the predictable tokens and on the others."""
    by: dict[str, HeadEffects] = {
        to: head_effects(model, tokens, predictable, generator, to=to, level=level, heads=heads) for to in REMOVALS
    }
    return Effects(by, {to: effects.loss.contrast(ELSEWHERE, generator, level) for to, effects in by.items()})


def measure_backup(
    model: nn.Module,
    tokens: Int[Tensor, "batch pos"],
    predictable: Bool[Tensor, "batch pos"],
    heads: Sequence[Head],
    generator: torch.Generator,
    level: float,
) -> dict[Head, dict[str, Estimate]]:
    """Loss that removing each head adds once the other `heads` are gone too, by both ways of removing.

    Heads that stand in for each other each cost little alone. Nothing for fewer than two heads.
    """
    if len(heads) < 2:
        return {}
    masks = scored_masks(tokens, predictable)
    intact = sequence_means(model, tokens, masks)
    found: dict[Head, dict[str, Estimate]] = {head: {} for head in heads}
    for to in REMOVALS:
        how = removal(model, tokens, to)
        everything = removal_effect(model, tokens, masks, how, heads, intact)[0, 0]
        for head in heads:
            others = [other for other in heads if other != head]
            added = everything - removal_effect(model, tokens, masks, how, others, intact)[0, 0]
            found[head][to] = bootstrap_interval(added[~added.isnan()], generator, level)
    return found
