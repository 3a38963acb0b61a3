"""Other sets of as many units as a named one, alike in how much their removal changes."""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import torch

from interp.ablation.random_sets import Group

NEAR = 5
"""How many of the nearest others a member of a matched set is drawn from."""
TRIES = 10
"""Draws for each set that is wanted, before fewer different ones must do."""


def matched_sets(
    groups: Sequence[Group], size_of: Callable[[Any], float], n: int, generator: torch.Generator
) -> list[tuple[Any, ...]]:
    """At most `n` different sets; for every named member another one of its group, near to it in size.

    In random order each named member gets a stand-in, drawn from the `NEAR` members of its group that are nearest in
    `size_of`, not named and not taken yet. Fewer than `n` where there are not as many; none where a group has too few
    others.
    """
    ranked = [_by_distance(group, size_of) for group in groups]
    found: dict[tuple[Any, ...], None] = {}
    for _ in range(n * TRIES):
        drawn = [_stand_ins(orders, generator) for orders in ranked]
        if any(part is None for part in drawn):
            return []
        found[tuple(sorted(member for part in drawn for member in part or ()))] = None
        if len(found) == n:
            break
    return list(found)


def _by_distance(group: Group, size_of: Callable[[Any], float]) -> list[list[Any]]:
    """For each named member, all that are not named, the nearest in size first."""
    everything, named = group
    sizes = {each: size_of(each) for each in everything}
    others = [each for each in everything if each not in named]
    return [sorted(others, key=lambda each: (abs(sizes[each] - sizes[one]), each)) for one in named]


def _stand_ins(orders: list[list[Any]], generator: torch.Generator) -> list[Any] | None:
    taken: list[Any] = []
    for place in torch.randperm(len(orders), generator=generator).tolist():
        near = list(islice((each for each in orders[place] if each not in taken), NEAR))
        if not near:
            return None
        taken.append(near[int(torch.randint(len(near), (1,), generator=generator))])
    return taken
