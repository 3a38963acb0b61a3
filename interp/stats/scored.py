"""Scores beside draws from their null distribution."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.stats.intervals import Alternative, Null, null_summary


@dataclass(frozen=True)
class Scored:
    """Scores of any shape, with as many null draws for each; NaN where there is nothing to score."""

    value: Float[Tensor, "*rest"]
    draws: Float[Tensor, "n *rest"]
    null: str
    """What the draws are, in words."""

    @property
    def n(self) -> int:
        return len(self.draws)

    @property
    def null_mean(self) -> Float[Tensor, "*rest"]:
        return self.draws.mean(0)

    def null_quantile(self, q: float) -> Float[Tensor, "*rest"]:
        return self.draws.quantile(q, dim=0)

    def p_values(self, alternative: Alternative = "greater") -> Float[Tensor, "*rest"]:
        """(1 + b) / (1 + n) for b of n draws at least as extreme, each score against its own draws; NaN stays NaN."""
        above, below = ((op(self.draws, self.value)).sum(0) for op in (torch.ge, torch.le))
        counts = {"greater": above, "less": below, "two-sided": 2 * torch.minimum(above, below) + 1}[alternative]
        p = ((1 + counts.double()) / (1 + self.n)).clamp_max(1)
        return p.masked_fill(self.value.isnan(), float("nan"))

    def summary(self, *index: int) -> Null:
        """The null of one score."""
        return null_summary(self.draws.movedim(0, -1)[index], self.null)

    def to_dict(self) -> dict[str, Any]:
        """Values, the null's mean, 2.5 % and 97.5 % quantiles and p-values as nested lists; None for NaN."""
        tensors = {
            "value": self.value,
            "null_mean": self.null_mean,
            "null_low": self.null_quantile(0.025),
            "null_high": self.null_quantile(0.975),
            "p": self.p_values(),
        }
        return {name: without_nan(tensor.tolist()) for name, tensor in tensors.items()} | {
            "n_draws": self.n,
            "null": self.null,
        }


def without_nan(values: Any) -> Any:
    if isinstance(values, list):
        return [without_nan(value) for value in values]
    return None if values != values else values
