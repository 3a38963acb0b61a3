"""The verdict table: a row for every head, which opens to all its measurements."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from analyses import reliability
from analyses.criteria import ROLES
from analyses.evidence import KINDS, Claim, Evidence, Feeder, Measurement, Status, Verdict
from analyses.report.blocks import Cell, Mark, Piece, Table, listed
from analyses.report.context import Context
from analyses.report.numbers import interval, number
from analyses.report.words import MEANINGS
from interp.names import Head

MOST_ROWS = 64
ASIDE = re.compile(r" \(|: |(?<=.{20}), ")


@dataclass(frozen=True)
class EvidenceCell:
    """One kind of evidence of a head's leading claim: its status and the number that decides it."""

    kind: str
    status: Status
    meaning: str
    name: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class ClaimDetail:
    """Everything that was measured for one role of a head."""

    role: str
    confidence: str | None
    measurements: Table
    feeders: Table | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One head."""

    head: str
    role: str
    meaning: str
    mechanism: str
    also: str
    confidence: str | None
    confidence_meaning: str
    evidence: tuple[EvidenceCell, ...]
    fed_by: str
    summary: str
    disagreements: tuple[str, ...]
    claims: tuple[ClaimDetail, ...]
    scores: Table | None


def rows_of(context: Context) -> tuple[Row, ...]:
    """All heads (of very many those with a role), those whose kinds of evidence disagree first."""
    verdicts = context.report.verdicts if len(context.heads) <= MOST_ROWS else context.with_role[:MOST_ROWS]
    rows = [row(context, verdict) for verdict in verdicts]
    return tuple(sorted(rows, key=lambda each: not each.disagreements))


def meaning_of(context: Context, verdict: Verdict) -> str:
    """What its confidence word means; empty without one."""
    own = bool(context.report.criteria.overridden)
    return reliability.meaning(verdict.confidence, own) if verdict.confidence else ""


def row(context: Context, verdict: Verdict) -> Row:
    """One head's verdict."""
    leading = verdict.claims[0] if verdict.confidence is not None else None
    return Row(
        head=verdict.head,
        role=verdict.role,
        meaning=ROLES[verdict.role],
        mechanism="" if leading is None else by_mechanism(leading),
        also=listed([role_in_words(claim) for claim in verdict.roles[1:]]),
        confidence=verdict.confidence,
        confidence_meaning=meaning_of(context, verdict),
        evidence=no_role(context, verdict) if leading is None else tuple(evidence_cell(leading, k) for k in KINDS),
        fed_by=partners(verdict.roles),
        summary=verdict.summary,
        disagreements=tuple(each.text for each in verdict.contradictions),
        claims=tuple(detail(claim) for claim in verdict.claims),
        scores=scores_of(context, verdict.head),
    )


def evidence_cell(claim: Claim, kind: str) -> EvidenceCell:
    """Status, and the number it hangs on."""
    evidence = next((e for e in claim.evidence if e.kind == kind), None)
    status: Status = "missing" if evidence is None else evidence.status
    measurement = None if evidence is None else evidence.decisive
    if measurement is None:
        return EvidenceCell(kind, status, MEANINGS[status], "", ())
    pieces = key_number(measurement, "null" if kind == "weights" else "")
    return EvidenceCell(kind, status, MEANINGS[status], short_name(measurement.name), pieces)


def no_role(context: Context, verdict: Verdict) -> tuple[EvidenceCell, ...]:
    """For a head without a role: its prefix matching, and the place it attends to most."""
    battery = context.report.battery
    if battery is None:
        return ()
    head = Head.parse(verdict.head)
    places = ("previous_token", "duplicate_token", "current_token", "first_token")
    names = ["prefix_matching", max(places, key=lambda name: float(battery[name].score[head]))]
    pieces: list[Piece] = []
    for name in names:
        nulls = [float(null[head]) for null in battery[name].nulls.values()]
        value = number(float(battery[name].score[head]))
        pieces += [f"{', ' if pieces else ''}{name.replace('_', ' ')} ", value, " (null ", number(max(nulls)), ")"]
    status: Status = "undecided" if any(c.status("behaviour") == "undecided" for c in verdict.claims) else "against"
    return (EvidenceCell("behaviour", status, MEANINGS[status], "", tuple(pieces)),)


def key_number(measurement: Measurement, null: str = "") -> tuple[Piece, ...]:
    """Value, interval and the highest null, which is called `null`, or what it is."""
    pieces: list[Piece] = [number(measurement.value)]
    span = interval(measurement.low, measurement.high)
    pieces += [" ", span] if span else []
    if measurement.nulls:
        name, highest = max(measurement.nulls.items(), key=lambda item: item[1])
        pieces += [f", {null or short_name(name)} ", number(highest)]
    elif measurement.compared:
        name, value = next(iter(measurement.compared.items()))
        pieces += [f" (for comparison, {name} ", number(value), ")"]
    return tuple(pieces)


def short_name(name: str) -> str:
    """A measurement's name up to its first aside."""
    return ASIDE.split(name)[0]


def fed_by(feeders: Sequence[Feeder]) -> str:
    """ "L0H0 and L0H3 (K)"."""
    by_channel = {c: dict.fromkeys(f.head for f in feeders if f.channel == c) for c in ("K", "Q", "V")}
    return "; ".join(f"{listed(list(heads))} ({channel})" for channel, heads in by_channel.items() if heads)


def partners(roles: Sequence[Claim]) -> str:
    """The heads it reads in any of its roles, and those that read it."""
    readers = fed_by([reader for claim in roles for reader in claim.readers])
    feeders = fed_by([feeder for claim in roles for feeder in claim.feeders])
    return "; ".join(filter(None, [feeders, f"read by {readers}" if readers else ""]))


def by_mechanism(claim: Claim) -> str:
    """ "by K-composition"; nothing for roles that can be done in one way only."""
    if claim.mechanism is None:
        return ""
    return "mechanism not identified" if claim.mechanism == "not identified" else f"by {claim.mechanism}"


def role_in_words(claim: Claim) -> str:
    """ "induction by K-composition (strong)"."""
    return " ".join(filter(None, [claim.role, by_mechanism(claim), f"({claim.confidence})"]))


def detail(claim: Claim) -> ClaimDetail:
    """All numbers of a claim as tables."""
    rows = tuple((e.kind, *measurement_cells(m)) for e in by_weight(claim.evidence) for m in e.measurements)
    notes = [*claim.notes, *(f"{e.kind}: {e.note}" for e in claim.evidence if e.note)]
    missing = [e.kind for e in claim.evidence if not e.measurements and not e.note]
    if missing:
        notes.append(f"no {listed(missing)} evidence was gathered")
    header = ("evidence", "measurement", "value", "interval", "nulls and controls", "threshold", "rule", "")
    return ClaimDetail(
        claim.role,
        claim.confidence,
        Table(header, rows, numeric=(2, 3, 5)),
        feeder_table((*claim.feeders, *claim.readers)),
        tuple(notes),
    )


def by_weight(evidence: Sequence[Evidence]) -> list[Evidence]:
    """What is against the role before what is for it."""
    return sorted(evidence, key=lambda e: e.status != "against")


def measurement_cells(m: Measurement) -> tuple[Cell, ...]:
    """Name, value, interval, nulls, threshold, rule and whether it holds."""
    nulls: list[Piece] = []
    for name, value in m.nulls.items():
        nulls += ["; " if nulls else "", f"{name} ", number(value)]
    for name, value in m.compared.items():
        nulls += ["; " if nulls else "", f"for comparison, {name} ", number(value)]
    name = f"{m.name} ({m.unit})" if m.unit else m.name
    threshold = "" if m.threshold is None else number(m.threshold)
    return name, number(m.value), interval(m.low, m.high), tuple(nulls), threshold, m.rule, holds(m)


def holds(m: Measurement) -> Mark:
    if m.informs:
        return Mark("for information", "missing")
    return {
        True: Mark("holds", "for"),
        False: Mark("does not hold", "against"),
        None: Mark("cannot be told", "undecided"),
    }[m.holds]


def feeder_table(feeders: Sequence[Feeder]) -> Table | None:
    """The earlier heads that it reads, with the causal and the weights' number behind each."""
    rows = []
    for f in feeders:
        weights = f.weights
        agree = {
            True: Mark("agree", "for"),
            False: Mark("disagree", "against"),
            None: Mark("weights were not read" if weights is None else "weights do not decide", "missing"),
        }[f.agree]
        weighed: Cell = "" if weights is None else key_number(weights, "null's quantile")
        lost, span = number(f.causal.value), interval(f.causal.low, f.causal.high)
        rows.append((f.head, f"{f.channel}-composition", lost, span, weighed, agree))
    header = (
        "partner",
        "by",
        "prefix matching lost without it",
        "interval",
        "match by weights",
        "weights and ablation",
    )
    return Table(header, tuple(rows), numeric=(2, 3)) if rows else None


def scores_of(context: Context, name: str) -> Table | None:
    """Every score of the battery for one head."""
    battery, head = context.report.battery, Head.parse(name)
    if battery is None:
        return None
    rows: list[tuple[Cell, ...]] = []
    for scores in battery.scores.values():
        estimate = scores.interval[head]
        nulls: list[Piece] = []
        for null, value in (scores.nulls | scores.also).items():
            nulls += ["; " if nulls else "", f"{null} ", number(float(value[head]))]
        name = scores.name.replace("_", " ")
        span = interval(estimate.low, estimate.high)
        rows.append((name, number(estimate.mean), span, tuple(nulls), scores.unit, scores.description))
    header = ("score", "value", "interval", "nulls and controls", "unit", "what it is")
    return Table(header, tuple(rows), numeric=(1, 2))
