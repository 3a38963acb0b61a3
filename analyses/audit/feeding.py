"""Which earlier head a head reads, and by which composition, in shares of its prefix matching."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from analyses.audit.matching import CHANNELS, Channel
from interp.ablation import EdgeEffects, edge_effects
from interp.names import Head
from interp.stats import Estimate, Estimates


@dataclass(frozen=True)
class Loss:
    """Prefix matching that a head loses, in shares of what it has: `without` one earlier head, or with it `alone`.

    `alone` is what is lost when all *other* earlier heads are taken out; small means that this one is enough.
    """

    earlier: Head
    channel: Channel
    without: Estimate
    alone: Estimate


@dataclass(frozen=True, eq=False)
class Feeding:
    """What one head loses by channel: everything earlier taken out at once, and head by head."""

    later: Head
    by_channel: dict[Channel, Estimate]
    losses: tuple[Loss, ...]
    effects: EdgeEffects

    @property
    def score(self) -> float:
        """Prefix matching of the whole model's head."""
        return self.effects.intact.mean

    def to_dict(self) -> dict[str, Any]:
        return self.effects.to_dict()


def measure_feeding(
    model: nn.Module,
    later: Head,
    tokens: Int[Tensor, "batch pos"],
    scored: Bool[Tensor, "batch pos"],
    generator: torch.Generator,
    level: float,
) -> Feeding:
    """`interp.ablation.edges.edge_effects` on prefix matching, earlier heads replaced by their mean."""
    effects = edge_effects(model, later, tokens, scored, generator, channels=CHANNELS, level=level)
    whole, losses = effects.intact.mean, []
    by_channel: dict[Channel, Estimate] = {}
    for channel in CHANNELS:
        found = effects.channels[channel]
        by_channel[channel] = _share(found.together_drop, whole)
        for at in torch.ones_like(found.drop.score).nonzero().tolist():
            without, alone = (_share(_at(part.interval, at), whole) for part in (found.drop, found.alone))
            losses.append(Loss(Head(*at), channel, without, alone))
    return Feeding(later, by_channel, tuple(losses), effects)


def _at(estimates: Estimates, at: list[int]) -> Estimate:
    return estimates[at[0], at[1]]


def _share(drop: Estimate, whole: float) -> Estimate:
    mean, low, high = (value / whole for value in (drop.mean, drop.low, drop.high))
    return Estimate(mean, low, high, drop.n, drop.level, drop.method)
