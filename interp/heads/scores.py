"""`HeadScores`: one number per head, with its samples, its interval and what it is when there is nothing to find."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import InputError
from interp.stats import Estimates, bootstrap_intervals


@dataclass(frozen=True, eq=False)
class HeadScores:
    """A score of every head.

    `nulls` say what the score is without the thing it looks for; `also` are readings for comparison that are no
    nulls, such as a previous-token score on tokens that do not repeat. Both are means over sequences, like `score`.
    """

    name: str
    description: str
    unit: str
    maximum: float | None
    """What a perfect head gets; None where there is no such thing."""
    protocol: str
    """The tokens it was measured on, in words."""
    samples: Float[Tensor, "n layer head"]
    """The score of each sequence; an interval is one over sequences."""
    interval: Estimates
    nulls: dict[str, Float[Tensor, "layer head"]]
    also: dict[str, Float[Tensor, "layer head"]] = field(default_factory=dict)
    compared: dict[str, Float[Tensor, "n layer head"]] = field(default_factory=dict, repr=False)
    """Each sequence's value of every null and comparison."""

    @property
    def score(self) -> Float[Tensor, "layer head"]:
        return self.interval.mean

    def contrast(self, null: str, generator: torch.Generator, level: float = 0.95) -> Estimates:
        """Score minus a null (or comparison), sequence by sequence, with its bootstrap interval."""
        if null not in self.compared:
            raise InputError(f"{self.name} has nothing to compare called {null!r}; it has {', '.join(self.compared)}")
        return bootstrap_intervals(self.samples - self.compared[null], generator, level)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: everything but the samples."""
        return {
            "name": self.name,
            "description": self.description,
            "unit": self.unit,
            "maximum": self.maximum,
            "protocol": self.protocol,
            "score": self.score.tolist(),
            "interval": self.interval.to_dict(),
            "nulls": {name: value.tolist() for name, value in self.nulls.items()},
            "also": {name: value.tolist() for name, value in self.also.items()},
        }


def head_scores(
    name: str,
    description: str,
    samples: Float[Tensor, "n layer head"],
    generator: torch.Generator,
    *,
    protocol: str,
    unit: str = "share of attention",
    maximum: float | None = 1.0,
    nulls: Mapping[str, Float[Tensor, "n layer head"]] | None = None,
    also: Mapping[str, Float[Tensor, "n layer head"]] | None = None,
    level: float = 0.95,
) -> HeadScores:
    """A `HeadScores` from each sequence's score and nulls, with a BCa bootstrap interval over sequences.

    Sequences with NaN (no eligible query) are left out; `InputError` if fewer than two are left.
    """
    nulls, also = nulls or {}, also or {}
    readable = ~samples.isnan().flatten(1).any(1)
    if int(readable.sum()) < 2:
        raise InputError(
            f"{name} needs at least two sequences with a query it can read (for token-matching scores: a token that "
            f"came before), {int(readable.sum())} of the {len(samples)} sequences have one"
        )
    kept = {key: value[readable].double() for key, value in {**nulls, **also}.items()}
    means = {key: value.mean(0) for key, value in kept.items()}
    return HeadScores(
        name,
        description,
        unit,
        maximum,
        protocol,
        samples[readable].double(),
        bootstrap_intervals(samples[readable], generator, level),
        nulls={key: means[key] for key in nulls},
        also={key: means[key] for key in also},
        compared=kept,
    )
