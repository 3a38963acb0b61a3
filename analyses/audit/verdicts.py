"""From measurements to a role for every head: which claims can be made, and which of them a head is named after."""

from dataclasses import dataclass, replace

from analyses.audit.behaviour import Behaviour
from analyses.audit.causal import Causal
from analyses.audit.mechanism import decide_mechanism
from analyses.audit.readable import Readable
from analyses.audit.weight_evidence import WeightEvidence
from analyses.criteria import ROLES, Criteria
from analyses.evidence import RANK, Claim, Evidence, Feeder, Measurement, Mechanism, Verdict
from interp.names import Head

PATTERN_ROLES = {
    "previous-token": "previous_token",
    "duplicate-token": "duplicate_token",
    "current-token": "current_token",
    "first-token": "first_token",
}
"""Roles that are a place to look at, and the detector of each."""


@dataclass(frozen=True)
class Sources:
    """The three kinds of evidence; None for one that was skipped."""

    behaviour: Behaviour | None
    weights: WeightEvidence | None
    causal: Causal | None
    criteria: Criteria
    readable: Readable | None = None
    """What heads bring to the lens, which informs and decides nothing."""


def verdict(head: Head, sources: Sources) -> Verdict:
    """The head's role: the claim with the most confidence, the more specific one where two have as much."""
    claims = [claim for claim in _claims(head, sources) if claim.possible_confidence is not None]
    made = [claim for claim in claims if claim.confidence is not None]
    order = list(ROLES)
    made.sort(key=lambda claim: (-RANK[claim.confidence or "contested"], order.index(claim.role)))
    others = [claim for claim in claims if claim not in made]
    if not made:
        return Verdict(str(head), "none", None, _summary_of_none(head, sources), tuple(others))
    return Verdict(str(head), made[0].role, made[0].confidence, _summary(made[0]), (*made, *others))


def _claims(head: Head, sources: Sources) -> list[Claim]:
    reading = [_reading_claim(role, head, sources) for role in ("induction", "anti-copying")]
    claims = [claim for claim in reading if claim.status("behaviour") != "against"]
    if all(claim.status("behaviour") == "against" for claim in reading):
        claims.append(_reading_claim("prefix-matching", head, sources))
    claims += [_pattern_claim(role, head, sources) for role in PATTERN_ROLES]
    return [claim for claim in claims if claim.status("behaviour") != "against"]


def _reading_claim(role: str, head: Head, sources: Sources) -> Claim:
    """A head that finds what followed an earlier copy, and what it then does with it."""
    behaviour: tuple[Measurement, ...] = ()
    if sources.behaviour is not None:
        then = {"induction": sources.behaviour.raises_next, "anti-copying": sources.behaviour.lowers_next}
        behaviour = sources.behaviour.matches_prefixes(head) + (then[role](head) if role in then else ())
        behaviour += () if sources.readable is None or role not in then else sources.readable.of(head)
    feeders: tuple[Feeder, ...] = ()
    notes: tuple[str, ...] = ()
    weights = () if sources.weights is None else sources.weights.reading(role, head)
    causal: tuple[Measurement, ...] = ()
    if sources.causal is not None and Evidence("behaviour", behaviour).status in ("for", "undecided"):
        causal = sources.causal.reading(role, head)
        feeders, notes = sources.causal.feeders(head)
        notes += sources.causal.stand_ins(head) if role == "induction" else ()
    if role != "induction":
        return _claim(role, behaviour, weights, causal, feeders, notes)
    mechanism, said = _mechanism(head, sources)
    return replace(_claim(role, behaviour, weights, causal, feeders, notes + said), mechanism=mechanism)


def _mechanism(head: Head, sources: Sources) -> tuple[Mechanism, tuple[str, ...]]:
    if sources.causal is None:
        return "not identified", ("the mechanism is not identified: that takes causal evidence",)
    matched = None if sources.weights is None else sources.weights.matched(head)
    return decide_mechanism(sources.causal.lost(head), matched, sources.criteria.feed_drop)


def _pattern_claim(role: str, head: Head, sources: Sources) -> Claim:
    behaviour = () if sources.behaviour is None else sources.behaviour.attends(PATTERN_ROLES[role], head)
    weights = () if sources.weights is None else sources.weights.place(role, head)
    causal = () if sources.causal is None else sources.causal.place(role, head)
    return _claim(role, behaviour, weights, causal)


def _claim(
    role: str,
    behaviour: tuple[Measurement, ...],
    weights: tuple[Measurement, ...],
    causal: tuple[Measurement, ...],
    feeders: tuple[Feeder, ...] = (),
    notes: tuple[str, ...] = (),
) -> Claim:
    kinds = (Evidence("behaviour", behaviour), Evidence("weights", weights), Evidence("causal", causal))
    return Claim(role, kinds, feeders, notes)


def _summary(claim: Claim) -> str:
    text = ROLES[claim.role]
    if claim.feeders:
        by_channel: dict[str, list[str]] = {}
        for feeder in claim.feeders:
            by_channel.setdefault(feeder.channel, []).append(feeder.head)
        fed = " and ".join(f"{channel}-composition with {' and '.join(heads)}" for channel, heads in by_channel.items())
        text += f", by {fed}"
    against = [kind for kind in ("weights", "causal") if claim.status(kind) == "against"]
    if against:
        text += f"; but the {' and '.join(against)} evidence is against it"
    return text


def _summary_of_none(head: Head, sources: Sources) -> str:
    if sources.behaviour is None:
        return "behaviour was not measured, so no role can be given"
    if sources.causal is not None and sources.causal.matters(head):
        return "none of the known roles, but removing it costs loss on repeated tokens: something is left to explain"
    return ROLES["none"]
