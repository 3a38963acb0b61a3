"""What a verdict rests on: measurements with their nulls, gathered into kinds of evidence and weighed."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Kind = Literal["behaviour", "weights", "causal"]
Mechanism = Literal["K-composition", "Q-composition", "smeared keys", "mixed", "not identified"]
KINDS: tuple[Kind, ...] = ("behaviour", "weights", "causal")
Status = Literal["for", "against", "undecided", "missing"]
Confidence = Literal["strong", "moderate", "weak", "contested"]

CONFIDENCE: dict[Confidence, str] = {
    "strong": "all three kinds of evidence (behaviour, weights, causal) are for the role",
    "moderate": "behaviour and one other kind are for it, the third is undecided or missing",
    "weak": "behaviour alone is for it, the other two are undecided or missing",
    "contested": "behaviour is for it and another kind is against it: the kinds of evidence disagree",
}
"""What each word means; a head whose behaviour is not for a role never gets that role.

For an idle head read "causal" for "behaviour": that nothing breaks without it is what the role says.
"""
LEADS: dict[str, Kind] = {"idle": "causal"}
"""The kind of evidence that a role cannot do without; behaviour, where none is named."""

RANK: dict[Confidence, int] = {"contested": 0, "weak": 1, "moderate": 2, "strong": 3}


@dataclass(frozen=True)
class Measurement:
    """One number with what it is to be compared with, and whether its rule holds.

    `holds` is None when the rule cannot be decided from this number (an interval that straddles the
    threshold); a measurement that `informs` only is shown but takes no part in the verdict.
    """

    name: str
    value: float
    rule: str
    holds: bool | None
    unit: str = ""
    low: float | None = None
    high: float | None = None
    nulls: Mapping[str, float] = field(default_factory=dict)
    threshold: float | None = None
    informs: bool = False
    compared: Mapping[str, float] = field(default_factory=dict)
    """The same number of something else, for comparison: no null, and nothing that has to be beaten."""

    def __post_init__(self) -> None:
        """What is not finite decides nothing: NaN compares as false with every threshold, infinity as true."""
        if not all(math.isfinite(number) for number in (self.value, self.low, self.high) if number is not None):
            object.__setattr__(self, "holds", None)


@dataclass(frozen=True)
class Evidence:
    """One kind of evidence for one role of one head."""

    kind: Kind
    measurements: tuple[Measurement, ...]
    note: str = ""

    @property
    def status(self) -> Status:
        """for: every deciding rule holds; against: one is broken; undecided: one is open; missing: there is none."""
        held = [m.holds for m in self.measurements if not m.informs]
        if not held:
            return "missing"
        if False in held:
            return "against"
        return "undecided" if None in held else "for"

    @property
    def decisive(self) -> Measurement | None:
        """The first measurement that makes the status what it is."""
        wanted = {"for": True, "against": False, "undecided": None, "missing": None}[self.status]
        return next((m for m in self.measurements if not m.informs and m.holds is wanted), None)


@dataclass(frozen=True)
class Contradiction:
    """A number that speaks against a role which the leading kind of evidence is for."""

    role: str
    kind: Kind
    measurement: Measurement
    """The number that speaks against it."""
    text: str


@dataclass(frozen=True)
class Feeder:
    """The earlier head that a head reads through (or, among a claim's readers, a later one), and by which composition.

    `weights` and `causal` are the numbers behind it; `agree` is False when they point at different heads.
    """

    head: str
    channel: Literal["K", "Q", "V"]
    causal: Measurement
    weights: Measurement | None
    agree: bool | None
    note: str = ""


@dataclass(frozen=True)
class Claim:
    """A role that a head may have, with its evidence."""

    role: str
    evidence: tuple[Evidence, ...]
    feeders: tuple[Feeder, ...] = ()
    notes: tuple[str, ...] = ()
    mechanism: Mechanism | None = None
    """How it is done, for roles that can be done in several ways (induction); None for the others."""
    readers: tuple[Feeder, ...] = ()
    """The later heads that read it, for a part of a virtual head."""

    def status(self, kind: Kind) -> Status:
        return next((e.status for e in self.evidence if e.kind == kind), "missing")

    @property
    def confidence(self) -> Confidence | None:
        """None when the leading kind (behaviour; of idle heads causal) is not for the role."""
        return weigh({kind: self.status(kind) for kind in KINDS}, self.leads)

    @property
    def possible_confidence(self) -> Confidence | None:
        """The highest confidence that evidence now missing or undecided could still bring."""
        return weigh({kind: _hopeful(self.status(kind)) for kind in KINDS}, self.leads)

    @property
    def leads(self) -> Kind:
        """The kind of evidence without which there is no such role."""
        return LEADS.get(self.role, "behaviour")

    @property
    def contradictions(self) -> tuple["Contradiction", ...]:
        """Where a kind of evidence is against what the leading one is for, and where a partner's two numbers differ."""
        if self.confidence is None:
            return ()
        against = [(e.kind, e.decisive) for e in self.evidence if e.status == "against"]
        found = [Contradiction(self.role, kind, m, self._said(kind, m)) for kind, m in against if m is not None]
        for feeder in (*self.feeders, *self.readers):
            if feeder.agree is False:
                text = f"{feeder.head} by {feeder.channel}-composition: {feeder.note}"
                found.append(Contradiction(self.role, "weights", feeder.weights or feeder.causal, text))
        return tuple(found)

    def _said(self, kind: Kind, broken: Measurement) -> str:
        rule = f"{broken.name} is {broken.value:.3g}, and the rule is: {broken.rule}"
        return f"{self.leads} is for {self.role}, but the {kind} evidence is against it: {rule}"


@dataclass(frozen=True)
class Verdict:
    """The role that one head is named after, and all its claims."""

    head: str
    role: str
    confidence: Confidence | None
    summary: str
    claims: tuple[Claim, ...]

    @property
    def roles(self) -> tuple[Claim, ...]:
        """Every claim that behaviour is for, the one it is named after first: a head can have several roles."""
        return tuple(claim for claim in self.claims if claim.confidence is not None)

    def having(self, role: str) -> Claim | None:
        """The claim of this role, if the head has it."""
        return next((claim for claim in self.roles if claim.role == role), None)

    @property
    def contradictions(self) -> tuple[Contradiction, ...]:
        """Of all its roles."""
        return tuple(each for claim in self.roles for each in claim.contradictions)

    def to_dict(self) -> dict[str, Any]:
        claims = [
            {
                "role": c.role,
                "mechanism": c.mechanism,
                "confidence": c.confidence,
                "possible_confidence": c.possible_confidence,
                "evidence": {
                    e.kind: {"status": e.status, "note": e.note, "measurements": [asdict(m) for m in e.measurements]}
                    for e in c.evidence
                },
                "feeders": [asdict(f) for f in c.feeders],
                "readers": [asdict(f) for f in c.readers],
                "notes": list(c.notes),
            }
            for c in self.claims
        ]
        return {
            "head": self.head,
            "role": self.role,
            "confidence": self.confidence,
            "roles": [
                {"role": c.role, "mechanism": c.mechanism, "confidence": c.confidence, "leads": c.leads}
                for c in self.roles
            ],
            "contradictions": [asdict(each) for each in self.contradictions],
            "summary": self.summary,
            "claims": claims,
        }


def weigh(status: Mapping[Kind, Status], leads: Kind = "behaviour") -> Confidence | None:
    """The confidence of a role from the status of its kinds of evidence; the words are defined in CONFIDENCE."""
    if status[leads] != "for":
        return None
    others = [status[kind] for kind in KINDS if kind != leads]
    if "against" in others:
        return "contested"
    return ("weak", "moderate", "strong")[others.count("for")]


def _hopeful(status: Status) -> Status:
    return "for" if status in ("missing", "undecided") else status
