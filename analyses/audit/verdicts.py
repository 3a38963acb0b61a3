"""From measurements to a role for every head: which claims can be made, and which of them a head is named after."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from analyses.audit.behaviour import Behaviour
from analyses.audit.causal import Causal
from analyses.audit.copying import Copying
from analyses.audit.idle import Idle
from analyses.audit.measured import Found, claim_of
from analyses.audit.mechanism import decide_mechanism
from analyses.audit.placed import Placed
from analyses.audit.readable import Readable
from analyses.audit.suppression import Suppression
from analyses.audit.virtual import Virtual
from analyses.audit.weight_evidence import WeightEvidence
from analyses.criteria import ROLES, Criteria
from analyses.evidence import RANK, Claim, Evidence, Feeder, Kind, Measurement, Mechanism, Verdict
from interp.names import Head

PATTERN_ROLES = {
    "previous-token": "previous_token",
    "duplicate-token": "duplicate_token",
    "current-token": "current_token",
    "first-token": "first_token",
}
"""Roles that are a place to look at, and the detector of each."""
BESIDE = ("virtual-head", "copying", "idle")
"""What a head does with what it finds, or fails to: it is named after these only where no role says where it looks."""
NO_REMOVAL = "no removal can speak for this role: that nothing breaks without the head is what the role says"
NO_POSITIONS = "the model has no positions, so weights cannot say that they send a head anywhere"
NOTHING_ELSE = "weights alone do not say what is left to explain"


@dataclass(frozen=True)
class Sources:
    """The three kinds of evidence; None for one that was skipped."""

    behaviour: Behaviour | None
    weights: WeightEvidence | None
    causal: Causal | None
    criteria: Criteria
    copying: Copying
    suppression: Suppression
    placed: Placed
    virtual: Virtual
    idle: Idle
    readable: Readable | None = None
    """What heads bring to the lens, which informs and decides nothing."""


def verdict(head: Head, sources: Sources) -> Verdict:
    """Its roles, the one it is named after first: where it looks before what it does with that; the surest, then the
    more specific one."""
    claims = [claim for claim in _claims(head, sources) if claim.possible_confidence is not None]
    made = [claim for claim in claims if claim.confidence is not None]
    order = list(ROLES)
    made.sort(key=lambda c: (c.role in BESIDE, -RANK[c.confidence or "contested"], order.index(c.role)))
    others = [claim for claim in claims if claim not in made]
    if not made and (left := _unexplained(head, sources, others)) is not None:
        made = [left]
    if not made:
        return Verdict(str(head), "none", None, _summary_of_none(sources), tuple(others))
    return Verdict(str(head), made[0].role, made[0].confidence, _summary(made), (*made, *others))


def _claims(head: Head, sources: Sources) -> list[Claim]:
    induction, lowers = reading = [_reading_claim(role, head, sources) for role in ("induction", "anti-copying")]
    claims = [claim for claim in reading if claim.status("behaviour") != "against"]
    if induction.status("behaviour") == "against" and lowers.confidence is None:
        claims.append(_reading_claim("prefix-matching", head, sources))
    places = [_pattern_claim(role, head, sources) for role in PATTERN_ROLES]
    claims += places
    if all(claim.confidence is None for claim in places if claim.role != "duplicate-token"):
        claims.append(sources.placed.claim(head))
    more = (sources.suppression.claim(head), sources.virtual.claim(head), sources.idle.claim(head))
    claims += [sources.copying.claim(head), *(claim for claim in more if claim is not None)]
    if any(claim.role == "copy-suppression" and RANK[claim.confidence or "contested"] for claim in claims):
        claims = [claim for claim in claims if claim.role != "anti-copying"]  # it matches prefixes as predictions do
    return [claim for claim in claims if claim.status(claim.leads) != "against"]


def _unexplained(head: Head, sources: Sources, others: Sequence[Claim]) -> Claim | None:
    """A head without a role whose removal costs loss, surely and by either removal."""
    if sources.behaviour is None or sources.causal is None:
        return None
    costs, gain = sources.causal.costs(head), sources.causal.gain
    gained = gain > sources.criteria.loss_share * (gain + sources.causal.effects.loss)  # of the loss by chance
    if not gained or costs[0].holds is not True:
        return None
    undecided = [claim.role for claim in others if claim.status("behaviour") == "undecided"]
    fits = Measurement(
        "known roles that its behaviour fits",
        0.0,
        "none" + (f"; undecided: {', '.join(undecided)}" if undecided else ""),
        None if undecided else True,
    )
    return claim_of("unexplained", {"behaviour": (fits,), "causal": costs}, {"weights": NOTHING_ELSE})


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
    if behaviour and role == "first-token":
        behaviour = (*behaviour, sources.placed.rests_late(head))
    weights = () if sources.weights is None else sources.weights.place(role, head)
    causal = () if sources.causal is None else sources.causal.place(role, head)
    found: dict[Kind, Found] = {"behaviour": behaviour, "weights": weights, "causal": causal}
    silent: dict[Kind, str] = {"causal": NO_REMOVAL} if role == "first-token" else {}
    if sources.weights is not None and not weights:
        silent["weights"] = NO_POSITIONS
    return claim_of(role, found, silent)


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


def _summary(made: Sequence[Claim]) -> str:
    claim = made[0]
    text = ROLES[claim.role]
    if claim.mechanism is not None:
        text += f" ({claim.mechanism if claim.mechanism != 'not identified' else 'mechanism not identified'})"
    if claim.feeders:
        by_channel: dict[str, list[str]] = {}
        for feeder in claim.feeders:
            by_channel.setdefault(feeder.channel, []).append(feeder.head)
        fed = " and ".join(f"{channel}-composition with {' and '.join(heads)}" for channel, heads in by_channel.items())
        text += f", by {fed}"
    if claim.readers:
        text += f", read by {' and '.join(reader.head for reader in claim.readers)}"
    against = [kind for kind in ("weights", "causal") if claim.status(kind) == "against"]
    if against:
        text += f"; but the {' and '.join(against)} evidence is against it"
    also = [f"{other.role} ({other.confidence})" for other in made[1:]]
    return text + (f"; also {', '.join(also)}" if also else "")


def _summary_of_none(sources: Sources) -> str:
    if sources.behaviour is None:
        return "behaviour was not measured, so no role can be given"
    return ROLES["none"]
