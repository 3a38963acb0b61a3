"""The outcome of a diff: pairs of heads with what changed, heads and edges gained and lost, and its JSON form."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from analyses.diff.audited import HeldRole
from interp.names import Head
from interp.stats import Estimate, Null

SCHEMA_VERSION = 1
"""Of diff.json; raised when a field changes its meaning or goes away."""
BETTER_THAN_CHANCE = 0.05
"""The p-value up to which a pair counts as matched."""

Kind = Literal["same", "alike", "matched", "chance"]
KINDS: dict[Kind, str] = {
    "same": "no score of what the two heads do differs beyond its interval, which happens to at most "
    f"{BETTER_THAN_CHANCE:.0%} of pairs that are matched after dealing the scores anew",
    "alike": "no score differs beyond its interval, but such pairs are often as near: heads that do little look alike",
    "matched": f"as near as at most {BETTER_THAN_CHANCE:.0%} of such pairs",
    "chance": "no nearer than such pairs, so nothing says that the two are one head",
}
Edge = tuple[Head, str, Head]
"""(earlier head, channel, head that reads it)."""


@dataclass(frozen=True)
class Change:
    """One score of a pair. `difference` is after minus before, its interval for all comparisons of the diff at once."""

    name: str
    unit: str
    before: Estimate
    after: Estimate
    difference: Estimate
    scale: float
    """A perfect head's score; for scores without one, the largest size of any head."""
    differs: bool
    """Whether that interval leaves 0 out, and the difference is not tiny."""


@dataclass(frozen=True)
class Pair:
    """A head before and the head after that does most nearly the same."""

    before: Head
    after: Head
    distance: float
    p_value: float | None
    kind: Kind
    roles_before: tuple[HeldRole, ...]
    roles_after: tuple[HeldRole, ...]
    changes: tuple[Change, ...]

    @property
    def differing(self) -> tuple[Change, ...]:
        """The scores that differ."""
        return tuple(change for change in self.changes if change.differs)


@dataclass(frozen=True)
class Circuits:
    """Edges by which heads read earlier ones. `kept` and `lost` as before, `gained` as after.

    An edge is kept if both of its heads have counterparts and those have it too, by the same channel.
    """

    kept: tuple[Edge, ...]
    lost: tuple[Edge, ...]
    gained: tuple[Edge, ...]


@dataclass(frozen=True)
class Whole:
    """A number of the whole model, before and after; an audit states an interval of it or what chance gives."""

    name: str
    unit: str
    before: Estimate | float
    after: Estimate | float
    difference: Estimate | None
    """After minus before, by MOVER for all such numbers at once; None where there are no intervals."""
    differs: bool = False
    """Whether that interval leaves 0 out, and the difference is not tiny."""
    chance: tuple[float, float] | None = None
    """What a model that knows nothing gets, before and after."""


@dataclass(frozen=True, eq=False)
class AuditDiff:
    """Two audits compared; `pairs` in the order of the heads before."""

    before: str
    after: str
    subjects: tuple[Mapping[str, Any], Mapping[str, Any]]
    pairs: tuple[Pair, ...]
    unmatched_before: dict[Head, tuple[HeldRole, ...]]
    unmatched_after: dict[Head, tuple[HeldRole, ...]]
    gained: dict[str, tuple[Head, ...]]
    """By role: heads after that have it, and whose counterpart, if any, did not have it."""
    lost: dict[str, tuple[Head, ...]]
    """By role: heads before that had it, and whose counterpart, if any, does not have it."""
    circuits: Circuits
    wholes: tuple[Whole, ...]
    null: Null | None
    """Of the distances of matched pairs."""
    random_pair: float
    scales: dict[str, float]
    """What each score was divided by in the distances."""
    notes: tuple[str, ...]
    """What makes the comparison less than one of like with like."""
    seed: int

    def __getitem__(self, head: str) -> Pair:
        """The pair of a head before."""
        return next(pair for pair in self.pairs if str(pair.before) == head)

    def to_dict(self) -> dict[str, Any]:
        """diff.json."""
        return {
            "schema": "interp-audit-diff",
            "schema_version": SCHEMA_VERSION,
            "before": {"name": self.before, "subject": self.subjects[0]},
            "after": {"name": self.after, "subject": self.subjects[1]},
            "notes": self.notes,
            "kinds": KINDS,
            "pairs": self.pairs,
            "unmatched": {"before": self.unmatched_before, "after": self.unmatched_after},
            "roles": {"gained": self.gained, "lost": self.lost},
            "circuits": self.circuits,
            "model": self.wholes,
            "distances": {"null": self.null, "random pair": self.random_pair, "scales": self.scales},
            "seed": self.seed,
        }
