"""How far the heads of one model are from those of another in what they do, noise not counted.

With scores x of one head and y of the other, both divided by what a perfect head gets, and the arms l, u of their
intervals (widened for as many comparisons as there are),

    x - y  in  [d - sqrt(l_x² + u_y²), d + sqrt(u_x² + l_y²)],   d = x - y

(MOVER: Zou & Donner 2008, "Construction of confidence limits about effect measures", for independent estimates; two
audits of one seed use the same sequences, which makes the interval rather too wide than too narrow). The distance of
two heads is the root mean square, over the scores, of how far that interval stays away from 0: it is 0 if no score
differs surely. A role takes no part in it, since it is a threshold on the same scores.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from analyses.diff.audited import Score
from interp.stats import Estimate

LEAST = 0.01
"""Smallest difference that counts, as a share of a perfect score: an exact score has an interval of width 0."""


@dataclass(frozen=True, eq=False)
class Profiles:
    """The scaled scores of the heads of one model, in one order, with the arms of their intervals."""

    value: Float[Tensor, "head score"]
    down: Float[Tensor, "head score"]
    up: Float[Tensor, "head score"]

    def dealt(self, picks: Float[Tensor, "head score"]) -> "Profiles":
        """Each score by itself dealt anew among the heads, in the order of random numbers."""
        order = picks.argsort(0)
        return Profiles(*(each.gather(0, order) for each in (self.value, self.down, self.up)))


def widening(level: float, comparisons: int) -> float:
    """By how much the arms of an interval grow for so many comparisons at once (Bonferroni, normal quantiles)."""
    alone, each = (torch.tensor(1 - (1 - level) / 2 / n, dtype=torch.float64) for n in (1, max(1, comparisons)))
    return float(torch.special.ndtri(each) / torch.special.ndtri(alone))


def scales(before: dict[str, Score], after: dict[str, Score]) -> dict[str, float]:
    """What each common score is divided by: a perfect head's, else the largest size of any head of either model."""
    return {name: max((_scale(score), _scale(after[name]), 1e-12)) for name, score in before.items() if name in after}


def _scale(score: Score) -> float:
    return score.largest if score.scale is None else score.scale


def profiles(scores: dict[str, Score], by: dict[str, float], comparisons: int) -> Profiles:
    """Of these scores, in this order."""
    chosen = [scores[name] for name in by]
    scale = torch.tensor(list(by.values()), dtype=torch.float64)
    wide = torch.tensor([widening(score.estimates.level, comparisons) for score in chosen], dtype=torch.float64)
    mean, low, high = (
        torch.stack([getattr(score.estimates, end) for score in chosen], dim=-1) for end in ("mean", "low", "high")
    )
    return Profiles(mean / scale, wide * (mean - low) / scale, wide * (high - mean) / scale)


def distances(before: Profiles, after: Profiles) -> Float[Tensor, "before after"]:
    """Root mean square, over the scores that both have, of what of each difference is beyond its interval."""
    gap = before.value[:, None] - after.value
    arm = torch.where(
        gap > 0,
        (before.down[:, None].square() + after.up.square()).sqrt(),
        (before.up[:, None].square() + after.down.square()).sqrt(),
    )
    beyond = (gap.abs() - arm.clamp_min(LEAST)).clamp_min(0)
    return beyond.square().nanmean(-1).sqrt().nan_to_num(nan=1.0)


def plain_distances(before: Profiles, after: Profiles) -> Float[Tensor, "before after"]:
    """The same with nothing taken off for noise."""
    return (before.value[:, None] - after.value).square().nanmean(-1).sqrt().nan_to_num(nan=1.0)


def difference(before: Estimate, after: Estimate, comparisons: int) -> Estimate:
    """After minus before, its interval by MOVER at the same level over all `comparisons` together."""
    wide = [widening(each.level, comparisons) for each in (before, after)]
    (down, up), (after_down, after_up) = (
        (w * (each.mean - each.low), w * (each.high - each.mean)) for w, each in zip(wide, (before, after), strict=True)
    )
    d = after.mean - before.mean
    low, high = d - (after_down**2 + up**2) ** 0.5, d + (after_up**2 + down**2) ** 0.5
    return Estimate(d, low, high, min(before.n, after.n), before.level, f"MOVER, for {comparisons} comparisons")
