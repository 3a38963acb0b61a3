"""Both arms the same treatment, other seeds: how often the comparisons of a claim say that it holds all the same.

Every comparison is made between the control arm with some seeds and the control arm with others. Each draw is judged as
the claim is. Where a training takes little each draw has seeds of its own; else draws take theirs from one pool, the
smaller the longer a training takes, so that they share trainings and are not independent. In a claim two arms share
their seed, and with it the order of the data and what else it decides; here they cannot, so these differences vary more
than the claim's own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import factorial, perm
from statistics import median
from typing import Any

import torch

from analyses.claims.arms import Task, tasks_of
from analyses.claims.claim import Arm, Claim, Comparison, Row
from analyses.claims.judge import Part, judge
from analyses.claims.result import number_in
from analyses.claims.stored import Stored
from interp.errors import InputError

SECONDS = 15.0
"""CPU seconds for which an arm is trained with ever more seeds, beyond the smallest pool."""
FRESH_FROM = 1000
"""The first seed, where every draw has its own."""
AT_MOST = 0.1
"""Share of draws that may say that a claim holds: two of twenty."""

Draw = tuple[tuple[int, ...], tuple[int, ...]]
"""Seeds of what takes the treated arm's place, and of the control."""


@dataclass(frozen=True)
class Within:
    """A comparison that claims equivalence, under the placebo: how many draws the interval lay within the margin.

    `half_width` is the median of the intervals': a true difference of margin + half_width is told from none that
    matters in about half of all runs.
    """

    condition: str
    within: int
    half_width: float | None
    margin: float


@dataclass(frozen=True)
class Placebo:
    """How often `draws` comparisons of the control with itself said *holds*, and *holds with a condition*.

    Counted are the comparisons that claim a difference (`compared` of them, judged together); None without any.
    """

    draws: int
    seeds: tuple[int, ...]
    fresh: bool
    compared: int
    holds: int | None
    with_a_condition: int | None
    equivalent: tuple[Within, ...]
    cpu_seconds: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def needs_placebo(claim: Claim) -> bool:
    """Whether anything is trained and compared; identities hold or do not."""
    return claim.trained and any(c.kind != "exact" for c in claim.comparisons)


def holds_too_often(placebo: Mapping[str, Any] | None) -> bool:
    """Whether a stored placebo was said to hold in more draws than may be."""
    return placebo is not None and (placebo["holds"] or 0) > AT_MOST * placebo["draws"]


def control_arms(claim: Claim) -> dict[str, Arm]:
    """Arms that some comparison of values takes for its control."""
    return {c.control: claim.arms[c.control] for c in claim.comparisons if c.kind != "exact"}


def seeds_for(claim: Claim, stored: Stored, draws: int, pool: int) -> tuple[tuple[int, ...], bool]:
    """Seeds to train the control arms with, at least `pool`, and whether every draw has its own."""
    own = tuple(stored["seeds"])
    slowest = max(stored["arms"][name]["seconds"] for name in control_arms(claim)) / len(own)
    enough = 2 * len(own) * draws
    count = max(pool, min(enough, int(SECONDS / max(slowest, 1e-3))))
    if count >= enough:
        return tuple(range(FRESH_FROM, FRESH_FROM + enough)), True
    others = [seed for seed in range(max(own) + count + 1) if seed not in own]
    return (*own, *others)[:count], False


def draw_seeds(seeds: Sequence[int], fresh: bool, n: int, draws: int, generator: torch.Generator) -> list[Draw]:
    """`draws` different pairs of disjoint sets of `n` seeds; `InputError` if there are not so many."""
    if fresh:
        starts = range(0, 2 * n * draws, 2 * n)
        return [(tuple(seeds[i : i + n]), tuple(seeds[i + n : i + 2 * n])) for i in starts]
    possible = perm(len(seeds), 2 * n) // factorial(n)
    if possible < draws:
        raise InputError(
            f"a pool of {len(seeds)} seeds has {possible} pairs of sets of {n}, fewer than {draws}: --pool"
        )
    found: dict[frozenset[tuple[int, int]], Draw] = {}
    while len(found) < draws:
        order = [seeds[i] for i in torch.randperm(len(seeds), generator=generator).tolist()]
        pair = tuple(order[:n]), tuple(order[n : 2 * n])
        found.setdefault(frozenset(zip(*pair, strict=True)), pair)
    return list(found.values())


def placebo_tasks(claim: Claim, stored: Stored, seeds: Sequence[int]) -> dict[str, list[Task]]:
    """What has to be trained for it, by arm."""
    return {
        name: tasks_of(claim, {name: arm}, seeds, stored["budget"], stored["device"])
        for name, arm in control_arms(claim).items()
    }


def measured_placebo(
    claim: Claim, rows: Mapping[str, Mapping[int, Row]], draws: Sequence[Draw], fresh: bool, cpu_seconds: float
) -> Placebo:
    """The verdicts of all draws; `rows` hold the control arms' numbers by seed."""
    claimed = [c for c in claim.comparisons if c.kind == "greater"]
    alike = [c for c in claim.comparisons if c.kind == "equivalent"]
    words = [judge([part(claim, c, rows, draw) for c in claimed]).word for draw in draws] if claimed else []
    return Placebo(
        draws=len(draws),
        seeds=tuple(sorted({seed for draw in draws for side in draw for seed in side})),
        fresh=fresh,
        compared=len(claimed),
        holds=words.count("holds") if claimed else None,
        with_a_condition=words.count("holds with a condition") if claimed else None,
        equivalent=tuple(within(c, [part(claim, c, rows, draw) for draw in draws]) for c in alike),
        cpu_seconds=round(cpu_seconds, 2),
    )


def part(claim: Claim, c: Comparison, rows: Mapping[str, Mapping[int, Row]], draw: Draw) -> Part:
    """One comparison with the control arm on both sides."""
    name = c.control_value or c.value
    treated, control = (
        tuple(number_in(claim, c.control, rows[c.control][seed], name) for seed in side) for side in draw
    )
    return Part(c.condition, c.measure, treated, control, c.kind, c.margin, c.scale, c.resolution)


def within(c: Comparison, parts: Sequence[Part]) -> Within:
    """How often the margin held, and how wide the intervals were."""
    widths = [(e.high - e.low) / 2 for e in (p.estimate for p in parts) if e is not None]
    inside = sum(p.outcome == "holds" for p in parts)
    return Within(c.condition, inside, median(widths) if widths else None, c.margin)
