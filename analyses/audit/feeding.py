"""Which earlier head a head reads, and by which composition, in shares of its prefix matching."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from analyses.audit.matching import CHANNELS, Channel
from analyses.audit.rules import above
from analyses.criteria import Criteria
from interp.ablation import EdgeEffects, HeadOutputs, edge_effects, fewest_enough
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


@dataclass(frozen=True)
class Enough:
    """Few earlier heads that keep the prefix matching together (`interp.ablation.fewest_enough`).

    `lost` is the share that goes with all others taken out: many small feeders show here only.
    """

    heads: tuple[Head, ...]
    lost: Estimate


@dataclass(frozen=True, eq=False)
class Feeding:
    """What one head loses by channel: everything earlier taken out at once, head by head, and all but the fewest.

    `enough` has the channels whose input needs earlier heads.
    """

    later: Head
    by_channel: dict[Channel, Estimate]
    losses: tuple[Loss, ...]
    enough: dict[Channel, Enough]
    effects: EdgeEffects
    left_out: int = 0
    """Earlier heads that were only taken out together with all others."""

    @property
    def score(self) -> float:
        """Prefix matching of the whole model's head."""
        return self.effects.intact.mean

    def to_dict(self) -> dict[str, Any]:
        enough = {
            channel: {"heads": [str(head) for head in found.heads], "lost": found.lost.to_dict()}
            for channel, found in self.enough.items()
        }
        return {**self.effects.to_dict(), "enough": enough, "not tried by themselves": self.left_out}


def measure_feeding(
    model: nn.Module,
    later: Head,
    tokens: Int[Tensor, "batch pos"],
    scored: Bool[Tensor, "batch pos"],
    generator: torch.Generator,
    criteria: Criteria,
    outputs: HeadOutputs | None = None,
    tried: Collection[Head] | None = None,
) -> Feeding:
    """`interp.ablation.edges.edge_effects` on prefix matching, earlier heads replaced by their mean.

    `outputs` are those of the model on these tokens, to be shared among heads. `tried`: the earlier heads that are
    taken out by themselves, the losses of the model not being followed then; None for all.
    """
    level = criteria.interval_level
    effects = edge_effects(
        model,
        later,
        tokens,
        scored,
        generator,
        channels=CHANNELS,
        level=level,
        losses=tried is None,
        tried=tried,
        outputs=outputs,
    )
    whole, losses = effects.intact.mean, []
    by_channel: dict[Channel, Estimate] = {}
    for channel in CHANNELS:
        found = effects.channels[channel]
        by_channel[channel] = _share(found.together_drop, whole)
        for at in (~found.drop.score.isnan()).nonzero().tolist():
            without, alone = (_share(_at(part.interval, at), whole) for part in (found.drop, found.alone))
            losses.append(Loss(Head(*at), channel, without, alone))
    enough: dict[Channel, Enough] = {}
    for channel in CHANNELS:
        if above(by_channel[channel], criteria.feed_drop):
            own = sorted((loss for loss in losses if loss.channel == channel), key=lambda loss: -loss.without.mean)
            order = [loss.earlier for loss in own]
            heads, lost = fewest_enough(
                model,
                later,
                channel,
                order,
                tokens,
                scored,
                generator,
                lost=criteria.feed_rest,
                least=criteria.feed_least,
                level=level,
                outputs=outputs,
            )
            enough[channel] = Enough(heads, _share(lost, whole))
    left_out = 0 if tried is None else found.drop.score.numel() - len(tried)
    return Feeding(later, by_channel, tuple(losses), enough, effects, left_out)


def _at(estimates: Estimates, at: list[int]) -> Estimate:
    return estimates[at[0], at[1]]


def _share(drop: Estimate, whole: float) -> Estimate:
    mean, low, high = (value / whole for value in (drop.mean, drop.low, drop.high))
    return Estimate(mean, low, high, drop.n, drop.level, drop.method)
