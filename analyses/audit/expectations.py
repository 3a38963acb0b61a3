"""`--expect ROLE[:N]`: at least N heads of a role, as a test that a script can make."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from analyses.criteria import ROLES
from analyses.evidence import RANK, Confidence, Verdict
from interp.errors import InputError

Outcome = Literal["holds", "fails", "undecided"]


@dataclass(frozen=True)
class Expectation:
    """At least `count` heads of `role`."""

    role: str
    count: int

    @classmethod
    def parse(cls, text: str) -> "Expectation":
        """From "induction" or "induction:2"; `InputError` for an unknown role or a count below 1."""
        role, _, count = text.partition(":")
        known = [name for name in ROLES if name != "none"]
        if role not in known:
            raise InputError(f"--expect knows no role {role!r}; the roles are {', '.join(known)}")
        if text == role:
            return cls(role, 1)
        if not (count.isascii() and count.isdigit()) or int(count) < 1:
            raise InputError(f"--expect {role}:N needs a whole number of at least 1, got {count!r}")
        return cls(role, int(count))


@dataclass(frozen=True)
class Judgement:
    """Which heads count for an expectation, and which could if missing or undecided evidence turned out for them."""

    expectation: Expectation
    confidence: Confidence
    heads: tuple[str, ...]
    possible: tuple[str, ...]

    @property
    def outcome(self) -> Outcome:
        wanted = self.expectation.count
        if len(self.heads) >= wanted:
            return "holds"
        return "undecided" if len(self.heads) + len(self.possible) >= wanted else "fails"

    def __str__(self) -> str:
        found = f"{len(self.heads)} of at least {self.expectation.count}"
        names = f" ({', '.join(self.heads)})" if self.heads else ""
        more = f"; undecided: {', '.join(self.possible)}" if self.possible else ""
        return f"{self.expectation.role}, confidence {self.confidence} or more: {found}{names}{more}: {self.outcome}"


def judge(verdicts: Sequence[Verdict], expectation: Expectation, confidence: Confidence) -> Judgement:
    """A head counts if its role is the one asked for, at this confidence or above."""
    heads, possible = [], []
    for verdict in verdicts:
        claims = [claim for claim in verdict.claims if claim.role == expectation.role]
        reached = verdict.role == expectation.role and verdict.confidence is not None
        if reached and RANK[verdict.confidence or "contested"] >= RANK[confidence]:
            heads.append(verdict.head)
        elif any(RANK[c.possible_confidence] >= RANK[confidence] for c in claims if c.possible_confidence):
            possible.append(verdict.head)
    return Judgement(expectation, confidence, tuple(heads), tuple(possible))
