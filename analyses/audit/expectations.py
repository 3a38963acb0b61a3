"""`--expect ROLE[:N]`: at least N heads of a role, as a test that a script can make."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from analyses.criteria import ROLES
from analyses.evidence import RANK, Claim, Confidence, Mechanism, Verdict
from interp.errors import InputError

Outcome = Literal["holds", "fails", "undecided"]
MECHANISMS: dict[str, Mechanism] = {
    "induction-by-k": "K-composition",
    "induction-by-q": "Q-composition",
    "induction-by-smeared-keys": "smeared keys",
    "induction-mixed": "mixed",
    "induction-unidentified": "not identified",
}
"""Induction by one mechanism, as --expect spells it."""


@dataclass(frozen=True)
class Expectation:
    """At least `count` heads of `role`, done by this mechanism where one is asked for."""

    role: str
    count: int
    mechanism: Mechanism | None = None

    @classmethod
    def parse(cls, text: str) -> "Expectation":
        """From "induction", "induction:2", "induction-by-k:2"; `InputError` for an unknown role or a count below 1."""
        name, colon, count = text.partition(":")
        known = [*(role for role in ROLES if role != "none"), *MECHANISMS]
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"the roles are {', '.join(known)}"
            raise InputError(f"--expect knows no role {name!r}; {hint}")
        if colon and (not (count.isascii() and count.isdigit()) or int(count) < 1):
            raise InputError(f"--expect {name}:N needs a whole number of at least 1, got {count!r}")
        role = "induction" if name in MECHANISMS else name
        return cls(role, int(count) if colon else 1, MECHANISMS.get(name))

    def __str__(self) -> str:
        return self.role if self.mechanism is None else f"{self.role} ({self.mechanism})"

    def could_be(self, claim: Claim) -> bool:
        """Whether a claim is of this role and mechanism, or may be once evidence that is open turns out for it."""
        return claim.role == self.role and (self.mechanism is None or claim.mechanism in (self.mechanism, *OPEN))


OPEN: tuple[Mechanism | None, ...] = (None, "not identified")


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
        return f"{self.expectation}, confidence {self.confidence} or more: {found}{names}{more}: {self.outcome}"


def has_role(verdict: Verdict, role: str, confidence: Confidence, mechanism: Mechanism | None = None) -> bool:
    """Whether a role is among those of a head, first named or not, at this confidence or above."""
    claim = verdict.having(role)
    if claim is None or claim.confidence is None or mechanism not in (None, claim.mechanism):
        return False
    return RANK[claim.confidence] >= RANK[confidence]


def judge(verdicts: Sequence[Verdict], expectation: Expectation, confidence: Confidence) -> Judgement:
    """A head counts if the role is among its roles, at this confidence or above."""
    heads, possible = [], []
    for verdict in verdicts:
        claims = [claim for claim in verdict.claims if expectation.could_be(claim)]
        if has_role(verdict, expectation.role, confidence, expectation.mechanism):
            heads.append(verdict.head)
        elif any(RANK[c.possible_confidence] >= RANK[confidence] for c in claims if c.possible_confidence):
            possible.append(verdict.head)
    return Judgement(expectation, confidence, tuple(heads), tuple(possible))
