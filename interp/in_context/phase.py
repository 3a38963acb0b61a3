"""When in-context learning forms: the steepest stretch of its score over training steps."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import InputError
from interp.stats import Estimate, bootstrap_interval
from interp.stats.ratios import resample

CLOSEST = 1.25
"""Checkpoints whose steps differ by less than this factor are taken as one: noise over a short stretch is steep."""
LEAST = 0.1
"""Nats that the score must surely fall for a stretch to be called a phase change; ours."""


@dataclass(frozen=True)
class PhaseChange:
    """The stretch between two checkpoints over which the score falls fastest."""

    before: int
    after: int
    """Training steps."""
    slope: float
    """Nats by which the score changes for each e-fold of steps."""
    change: Estimate
    """Of the score between the two; its level is corrected for the number of stretches that were compared."""
    share: Estimate | None
    """Of the change between the first and the last checkpoint; None where that cannot be told from 0."""

    def to_dict(self) -> dict[str, Any]:
        share = None if self.share is None else self.share.to_dict()
        about = {"before": self.before, "after": self.after, "slope": self.slope}
        return {**about, "change": self.change.to_dict(), "share": share}


def phase_change(
    steps: Sequence[int],
    scores: Float[Tensor, "step batch"],
    generator: torch.Generator,
    level: float = 0.95,
    least: float = LEAST,
) -> PhaseChange | None:
    """The pair of neighbouring checkpoints with the smallest d score / d ln step; None if none surely falls `least`.

    `scores` are in-context scores by sequence, on the same sequences at every step. The derivative of the score is how
    Olsson et al. 2022 place the phase change. Step 0 has no logarithm and is left out, and so are steps less than 1.25
    times the one before. The interval of the change is a bootstrap interval over sequences at 1 - (1 - level) / k for k
    stretches, since the steepest of k was chosen (Bonferroni).
    Raises `InputError` for steps that do not ascend, or not one for each row of scores.
    """
    if len(steps) != len(scores) or any(later <= earlier for earlier, later in pairwise(steps)):
        raise InputError(f"each of {len(scores)} rows of scores needs its step, ascending, got {list(steps)[:8]}")
    kept = spaced(steps)
    if len(kept) < 2:
        return None
    stretches = list(pairwise(kept))
    slopes = [float((scores[b] - scores[a]).mean()) / math.log(steps[b] / steps[a]) for a, b in stretches]
    steepest = min(range(len(slopes)), key=slopes.__getitem__)
    a, b = stretches[steepest]
    corrected = 1 - (1 - level) / len(stretches)
    change = bootstrap_interval(scores[b] - scores[a], generator, corrected)
    if change.high > -least:
        return None
    total, draws = scores[kept[-1]] - scores[kept[0]], resample(scores.shape[1], generator, level)
    share = draws.ratio((scores[b] - scores[a])[:, None], total)[0] if draws.can_divide_by(total) else None
    return PhaseChange(steps[a], steps[b], slopes[steepest], change, share)


def spaced(steps: Sequence[int]) -> list[int]:
    """Indices of the steps above 0 of which each is at least `CLOSEST` times the one before."""
    found: list[int] = []
    for index, step in enumerate(steps):
        if step > 0 and (not found or step >= CLOSEST * steps[found[-1]]):
            found.append(index)
    return found
