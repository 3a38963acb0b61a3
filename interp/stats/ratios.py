"""Ratios of two means with bootstrap intervals: a patch's effect as a share of the whole difference between two runs.

A ratio is resampled as a whole: every resample of sequences gives a numerator and a denominator of its own. A
denominator that cannot be told from 0 is not divided by.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import InputError
from interp.stats.intervals import Estimates


@dataclass(frozen=True, eq=False)
class Resamples:
    """Resamples of n sequences with replacement; the same ones for every quantity, so that quantities are paired."""

    shares: Float[Tensor, "draw n"]
    """How often each sequence is in each resample, divided by n."""
    level: float

    @property
    def tail(self) -> int:
        """How many draws lie outside each limit."""
        return math.floor((1 - self.level) / 2 * (len(self.shares) - 1))

    def can_divide_by(self, denominator: Float[Tensor, " n"]) -> bool:
        """Whether its mean is told from 0: no more resampled means than fit into a tail lack its sign."""
        return int(self._lost(denominator).sum()) <= self.tail and float(denominator.mean()) != 0

    def ratio(self, numerator: Float[Tensor, "n *rest"], denominator: Float[Tensor, " n"]) -> Estimates:
        """mean(numerator) / mean(denominator) with a percentile interval, for all elements at once.

        A resample whose denominator lacks the sign of the whole counts as infinite in both directions, so that the
        limits are finite exactly where division is allowed. Raises `InputError` where it is not, and for numerators
        that are not finite.
        """
        if not self.can_divide_by(denominator):
            raise InputError(f"the denominator's mean, {float(denominator.mean()):.3g}, cannot be told from 0")
        if not bool(numerator.isfinite().all()):
            raise InputError("numerators must be finite numbers, got NaN or infinity")
        flat, below = numerator.double().flatten(1), denominator.double()
        ratios = (self.shares @ flat) / (self.shares @ below)[:, None]
        low, high = self.limits(ratios, self._lost(denominator))
        value = flat.mean(0) / below.mean()
        shape, text = numerator.shape[1:], f"percentile bootstrap of the ratio, {len(self.shares)} resamples"
        value, low, high = (each.reshape(shape) for each in (value, low, high))
        return Estimates(value, low, high, len(flat), self.level, text)

    def limits(self, drawn: Float[Tensor, "draw rest"], lost: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The percentile limits of each column, rounded outwards; lost draws lie beyond both."""
        gone = torch.zeros(len(drawn), dtype=torch.bool) if lost is None else lost
        low = drawn.masked_fill(gone[:, None], -math.inf).kthvalue(self.tail + 1, dim=0).values
        high = drawn.masked_fill(gone[:, None], math.inf).kthvalue(len(drawn) - self.tail, dim=0).values
        return low, high

    def _lost(self, denominator: Tensor) -> Tensor:
        return (self.shares @ denominator.double()) * denominator.double().mean().sign() <= 0


def resample(n: int, generator: torch.Generator, level: float = 0.95, draws: int = 2000) -> Resamples:
    """`draws` resamples of n sequences; `InputError` for fewer than two sequences or draws, or an impossible level."""
    if n < 2 or draws < 2 or not 0 < level < 1:
        raise InputError(f"resampling needs two sequences, two draws and a level in (0, 1), got {n}, {draws}, {level}")
    picks = torch.randint(n, (draws, n), generator=generator, device=generator.device).cpu()
    counts = torch.zeros(draws, n, dtype=torch.float64).scatter_add_(1, picks, torch.ones_like(picks).double())
    return Resamples(counts / n, level)
