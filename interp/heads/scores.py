"""`HeadScores`: one number per head, with its samples, its interval and what it is when there is nothing to find."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.errors import InputError
from interp.names import Head
from interp.stats import Estimates, bootstrap_intervals

CONTROLS, ENDS = ("nulls", "also", "compared"), ("mean", "low", "high")


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
        difference = self.samples - self.compared[null]
        measured = ~difference.isnan().any(0)
        if bool(measured.all()):
            return bootstrap_intervals(difference, generator, level)
        return _scattered(bootstrap_intervals(difference[:, measured], generator, level), measured)

    def spread(self, heads: Sequence[Head], n_layers: int, n_heads: int) -> "HeadScores":
        """Scores of a few heads, `[1 n]` in this order, as `[layer head]` with NaN for all that were not measured."""
        measured = torch.zeros(n_layers, n_heads, dtype=torch.bool)
        measured[[head.layer for head in heads], [head.index for head in heads]] = True
        order = sorted(range(len(heads)), key=lambda i: heads[i])

        def put(values: Tensor) -> Tensor:
            full = values.new_full((*values.shape[:-2], n_layers, n_heads), torch.nan)
            full[..., measured] = values[..., 0, order]
            return full

        parts: dict[str, Any] = {
            name: {key: put(each) for key, each in getattr(self, name).items()} for name in CONTROLS
        }
        ends: dict[str, Any] = {name: put(getattr(self.interval, name)) for name in ENDS}
        interval = replace(self.interval, **ends)
        return replace(self, samples=put(self.samples), interval=interval, **parts)

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


def _scattered(found: Estimates, measured: Bool[Tensor, "layer head"]) -> Estimates:
    """Estimates of the measured heads in their places, NaN elsewhere."""
    parts: dict[str, Any] = {}
    for name in ENDS:
        part = getattr(found, name)
        parts[name] = part.new_full(measured.shape, torch.nan)
        parts[name][measured] = part
    return replace(found, **parts)


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
