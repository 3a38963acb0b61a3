"""Other sets of as many heads or units as a named one, to compare its effect with."""

from collections.abc import Sequence
from itertools import combinations, product
from math import comb, prod
from typing import Any

import torch

Group = tuple[Sequence[Any], Sequence[Any]]
"""All members of a kind, and those of them that were named."""


def random_sets(
    groups: Sequence[Group], n: int, generator: torch.Generator, kind: str = "heads"
) -> tuple[list[tuple[Any, ...]], str]:
    """`n` different sets with as many members of every group as were named, and in words how they were drawn.

    All of them where there are not more. They avoid the named members if enough others are left for two sets, else they
    only differ from the named set.
    """
    rest = [[each for each in everything if each not in named] for everything, named in groups]
    sizes = [len(named) for _, named in groups]
    avoids = _count(rest, sizes) >= 2
    pools = rest if avoids else [list(everything) for everything, _ in groups]
    said = f"sets of {sum(sizes)} of " + (f"the other {kind}" if avoids else f"all {kind} (too few others)")
    chosen = tuple(tuple(sorted(named)) for _, named in groups)
    if _count(pools, sizes) - (not avoids) <= n:
        every = product(*(combinations(pool, size) for pool, size in zip(pools, sizes, strict=True)))
        found = [_flat(parts) for parts in every if parts != chosen]
        return found, f"all {len(found)} {said}"
    drawn: set[tuple[Any, ...]] = set()
    while len(drawn) < n:
        parts = tuple(_draw(pool, size, generator) for pool, size in zip(pools, sizes, strict=True))
        drawn |= {parts} - {chosen}
    return [_flat(parts) for parts in sorted(drawn)], f"{n} random {said}"


def _draw(pool: Sequence[Any], size: int, generator: torch.Generator) -> tuple[Any, ...]:
    return tuple(sorted(pool[i] for i in torch.randperm(len(pool), generator=generator)[:size].tolist()))


def _count(pools: Sequence[Sequence[Any]], sizes: Sequence[int]) -> int:
    return prod(comb(len(pool), size) for pool, size in zip(pools, sizes, strict=True))


def _flat(parts: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    return tuple(member for part in parts for member in part)
