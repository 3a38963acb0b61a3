"""Which head of one model is which of another: the one-to-one matching with the smallest sum of distances.

Heads may be matched from any layer to any other: what is compared is what they do, and models of different depth, or
with smeared keys, do the same in other layers. Depth only decides between heads that are equally near, after what of
the difference is within the intervals.

The matching finds small distances whatever it is given, so a random pair is no fair comparison for a matched one. Its
null is the same matching after the scores of the model with more heads were dealt anew among them, each score by
itself: as many heads that score as high, but none that does one thing.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from analyses.diff.distances import Profiles, distances, plain_distances

WITHIN, OF_DEPTH = 1e-3, 1e-6
"""Weights of what only breaks ties: differences within intervals, and of relative depth."""


@dataclass(frozen=True, eq=False)
class Matching:
    """`pairs` are places in the two lists of heads; every other head has no counterpart."""

    pairs: tuple[tuple[int, int], ...]
    distance: tuple[float, ...]
    """Of each pair."""
    p_value: tuple[float, ...] | None
    """(1 + distances of the null that are at most as large) / (1 + all), for each pair; None without a null."""
    null: Float[Tensor, " draw"]
    """Distances of the pairs that are matched with dealt scores, of all draws; empty if both models have one head."""
    random_pair: float
    """Mean distance of all pairs of a head here and a head there."""


def match(
    before: Profiles,
    after: Profiles,
    depth_before: Float[Tensor, " before"],
    depth_after: Float[Tensor, " after"],
    generator: torch.Generator,
    draws: int = 100,
) -> Matching:
    """The best matching of as many heads as the smaller model has, and its null of `draws` deals."""
    depth = (depth_before[:, None] - depth_after).abs()
    far = distances(before, after)
    pairs = best(far + WITHIN * plain_distances(before, after) + OF_DEPTH * depth)
    found, drawn = [float(far[pair]) for pair in pairs], null_distances(before, after, generator, draws)
    p_values = tuple((1 + int((drawn <= each).sum())) / (1 + len(drawn)) for each in found) if len(drawn) else None
    return Matching(pairs, tuple(found), p_values, drawn, float(far.mean()))


def null_distances(before: Profiles, after: Profiles, generator: torch.Generator, draws: int) -> Float[Tensor, " draw"]:
    """Of the pairs of the best matching with dealt scores."""
    more, fewer = (after, before) if len(after.value) >= len(before.value) else (before, after)
    if len(more.value) < 2:
        return torch.zeros(0, dtype=torch.float64)
    found = []
    for _ in range(draws):
        picks = torch.rand(more.value.shape, generator=generator, dtype=torch.float64)
        far = distances(fewer, more.dealt(picks))
        found += [float(far[pair]) for pair in best(far)]
    return torch.tensor(found, dtype=torch.float64)


def best(cost: Float[Tensor, "before after"]) -> tuple[tuple[int, int], ...]:
    """The pairs with the smallest sum of costs, by the Hungarian method (Kuhn 1955, "The Hungarian method")."""
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(cost.numpy())
    return tuple(zip(rows.tolist(), columns.tolist(), strict=True))
