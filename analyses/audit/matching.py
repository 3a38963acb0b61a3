"""Through which earlier head a QK circuit could match equal tokens, by weights alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from interp.composition import token_composition
from interp.names import Head
from interp.stats import Scored
from interp.weights import TransformerWeights

Channel = Literal["K", "Q"]
CHANNELS: tuple[Channel, ...] = ("K", "Q")
READINGS: dict[Channel, str] = {
    "K": "eigenvalue score of the K-term, tokens to tokens",
    "Q": "share of positions p whose Q-term is largest at p + 1",
}
"""What is read for each channel: a key that holds the token before, or a query that holds a pointer."""


@dataclass(frozen=True, eq=False)
class Edge:
    """One way to match: `later` reads `earlier` through its keys (K) or its queries (Q)."""

    earlier: Head
    later: Head
    channel: Channel
    scored: Scored
    threshold: float
    """The null's quantile, corrected for the number of edges that the later head has (Bonferroni); at least 0."""

    @property
    def value(self) -> float:
        return float(self.scored.value)

    @property
    def stands_out(self) -> bool:
        return self.value > self.threshold

    def __str__(self) -> str:
        return f"{self.earlier} by {self.channel}"


def matching_edges(
    weights: TransformerWeights,
    generator: torch.Generator,
    quantile: float,
    offset: int,
    draws: int = 400,
    only: Mapping[Head, Sequence[Head]] | None = None,
) -> dict[Head, tuple[Edge, ...]]:
    """Every head of a later layer with its edges, the one that stands out most first.

    `only` names the later heads to look at, each with the earlier ones to try.

    K: the term W_E W_QK (W_E W_OV)^T matches tokens with themselves (any positions); read at `offset` for rotary ones.
    Q: the term from positions to positions points one further; only where positions are in the residual stream.
    """
    heads = [Head(layer, index) for layer in range(weights.n_layers) for index in range(weights.n_heads)]
    channels: list[Channel] = ["K"] if weights.W_pos is None else ["K", "Q"]
    found = {}
    for later in heads:
        earlier = [head for head in heads if head.layer < later.layer] if only is None else only.get(later, ())
        if not earlier:
            continue
        level = 1 - (1 - quantile) / (len(earlier) * len(channels))
        edges = [_edge(weights, e, later, c, generator, level, offset, draws) for e in earlier for c in channels]
        found[later] = tuple(sorted(edges, key=lambda edge: -edge.value))
    return found


def _edge(
    weights: TransformerWeights,
    earlier: Head,
    later: Head,
    channel: Channel,
    generator: torch.Generator,
    level: float,
    offset: int,
    draws: int,
) -> Edge:
    at = offset if weights.rotary_base is not None else None
    if channel == "K":
        scored = token_composition(weights, earlier, later, "K", generator, draws, offset=at).eigenvalue
    else:
        scored = token_composition(
            weights, earlier, later, "Q", generator, draws, moved="position", other="position", offset=at, shift=1
        ).top1
    return Edge(earlier, later, channel, scored, max(0.0, float(scored.null_quantile(level))))
