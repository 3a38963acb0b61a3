"""Whether a named circuit is minimal: every member needed, and no other set of that size does better."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import combinations
from math import comb
from typing import Any

import torch

from analyses.calibration.trained.brute_force import BruteForce, HeadSet
from interp.names import Head

MEMBER_SHARE = 0.02
"""Share of the gain that dropping a member must lose (of what is removed or preserved), for it to be needed."""
TOLERANCE = 0.02
"""By how much another set's score must be higher, for it to do better, with the whole paired interval above 0."""
MOST_SETS, DRAWN = 1000, 300
"""So many other sets are all tried; where there are more, so many are drawn."""


@dataclass(frozen=True)
class Member:
    """What dropping one head of the circuit loses of the removed and of the preserved share, each capped at 1."""

    head: Head
    removed: float
    preserved: float

    @property
    def needed(self) -> bool:
        return max(self.removed, self.preserved) > MEMBER_SHARE


@dataclass(frozen=True)
class Others:
    """The other sets of the circuit's size, by `BruteForce.score`."""

    tried: int
    exhaustive: bool
    rank: int
    """1 if no other set has a higher score, whatever the tolerance."""
    score: float
    """Of the circuit."""
    best: tuple[Head, ...] | None
    """The other set with the highest score; None without other sets."""
    best_score: float | None
    better: int
    """Sets that do better: by more than the tolerance, with the whole paired interval above 0."""

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "best": None if self.best is None else [str(head) for head in self.best]}


def members(judge: BruteForce, circuit: HeadSet) -> tuple[Member, ...]:
    """Each head of the circuit dropped from it."""
    removed, preserved = _capped(judge, circuit)
    found = []
    for head in sorted(circuit):
        less_removed, less_preserved = _capped(judge, circuit - {head})
        found.append(Member(head, removed - less_removed, preserved - less_preserved))
    return tuple(found)


def _capped(judge: BruteForce, heads: HeadSet) -> tuple[float, float]:
    return min(judge.removed(heads).mean, 1.0), min(judge.preserved(heads).mean, 1.0)


def others(judge: BruteForce, circuit: HeadSet, generator: torch.Generator, most: int = MOST_SETS) -> Others:
    """Every other set of as many heads, or `DRAWN` of them from `generator` where there are more than `most`.

    A set that preserves p of the gain scores at most (1 + p) / 2. That is measured for every set, on a fourth of the
    sequences; what a set scores on all of them, only where it could be the best or better than the circuit by that.
    """
    size, n = len(circuit), len(judge.heads)
    exhaustive = comb(n, size) - 1 <= most
    every = (frozenset(each) for each in combinations(judge.heads, size))
    sets = (
        [each for each in every if each != circuit]
        if exhaustive
        else list(_drawn(judge, circuit, generator, min(DRAWN, most)))
    )
    own = judge.score(circuit)
    scored: list[tuple[float, HeadSet]] = []
    for bound, heads in sorted(((judge.likely_bound(heads), sorted(heads)) for heads in sets), reverse=True):
        if scored and bound <= min(own, max(scored)[0]):
            break
        scored.append((judge.score(frozenset(heads)), frozenset(heads)))
    scored.sort(key=lambda pair: -pair[0])
    ahead = [heads for score, heads in scored if score > own + TOLERANCE]
    return Others(
        tried=len(sets),
        exhaustive=exhaustive,
        rank=1 + sum(score > own for score, _ in scored),
        score=own,
        best=tuple(sorted(scored[0][1])) if scored else None,
        best_score=scored[0][0] if scored else None,
        better=sum(judge.surely_ahead(heads, circuit) for heads in ahead),
    )


def _drawn(judge: BruteForce, circuit: HeadSet, generator: torch.Generator, count: int) -> Iterator[HeadSet]:
    """Different sets of the circuit's size, other than it."""
    seen = {circuit}
    while len(seen) <= count:
        picks = torch.randperm(len(judge.heads), generator=generator)[: len(circuit)].tolist()
        drawn = frozenset(judge.heads[i] for i in picks)
        if drawn not in seen:
            seen.add(drawn)
            yield drawn
