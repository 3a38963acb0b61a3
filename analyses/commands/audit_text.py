"""What `interp audit` prints: disagreements first, a row for every head, what the columns are, and the expectations."""

import math
from collections.abc import Sequence

from analyses.audit import AuditReport, Judgement
from analyses.audit.mechanism import SHORT
from analyses.commands.audit_context import context_lines
from analyses.evidence import KINDS, Claim, Feeder, Measurement, Verdict
from analyses.loading import Subject
from analyses.reliability import against_brute_force, meaning
from analyses.tables import interval, number, paragraph, table
from interp.names import Head

SIGNS = {"for": "+", "against": "−", "undecided": "?", "missing": "·"}
MOST_ROWS = 64
HEADER = (
    "head",
    "role",
    "confidence",
    "b w c",
    "behaviour",
    "weights",
    "loss without it",
    "reads",
    "also",
)


def text(report: AuditReport, subject: Subject, judgements: Sequence[Judgement]) -> str:
    """Disagreements, the verdict table, what its columns are, the notes and the expectations."""
    parts = [paragraph(subject.describe()), *disagreements(report), *doubts(report)]
    parts += [*verdict_table(report), legend(report)]
    parts += context_lines(report.in_context, report.sources.readable)
    notes = [f"{v.head}: {note}." for v in report.verdicts for c in v.claims[:1] for note in c.notes]
    parts += [paragraph(note, 2) for note in (*notes, *undecided(report))]
    if changed := report.criteria.overridden:
        own = ", ".join(f"{name} {each['value']} (default {each['default']})" for name, each in changed.items())
        parts.append(paragraph(f"Criteria of one's own: {own}.", 2))
    if report.plan is not None and report.plan.text:
        parts.append(paragraph(report.plan.text, 2))
    parts += [f"expected {judgement}" for judgement in judgements]
    return "\n\n".join(parts)


def verdict_table(report: AuditReport) -> list[str]:
    """A row for every head; of more than fit a few screens only those with a role, and how many are left."""
    shown = report.verdicts
    if len(shown) > MOST_ROWS:
        shown = tuple(verdict for verdict in shown if verdict.confidence is not None)
    rows = [row(report, verdict) for verdict in shown]
    others = len(report.verdicts) - len(shown)
    more = [paragraph(f"{others} {'more ' if rows else ''}heads have no role.", 2)] if others else []
    return [*([table(HEADER, rows)] if rows else []), *more]


def disagreements(report: AuditReport) -> list[str]:
    """Where kinds of evidence contradict each other: head, role, which kind is against, and the number."""
    lines = [
        paragraph(f"{verdict.head} as {each.role}, {each.kind}: {each.text}.", 2)
        for verdict in report.verdicts
        for each in verdict.contradictions
    ]
    return ["\n".join(["Disagreements", *lines])] if lines else []


def doubts(report: AuditReport) -> list[str]:
    """Where the named heads do not account for what the model gains from order."""
    return ["\n".join(["Doubts", *(paragraph(f"{doubt}.", 2) for doubt in report.doubts)])] if report.doubts else []


def undecided(report: AuditReport) -> list[str]:
    """Heads that may be induction heads, and the number that leaves it open."""
    said = []
    for verdict in report.verdicts:
        for claim in verdict.claims:
            if claim.role == "induction" and claim.confidence is None and claim.possible_confidence is not None:
                open_ones = (m for e in claim.evidence for m in e.measurements if m.holds is None and not m.informs)
                if (first := next(open_ones, None)) is not None:
                    value = number(first.value, 2)
                    said.append(
                        f"{verdict.head} as induction, undecided: {first.name}: {value}; asked for: {first.rule}."
                    )
    return said


def row(report: AuditReport, verdict: Verdict) -> list[str]:
    """One head; of a head without a role only what removing it costs."""
    lost = loss_without(report, verdict)
    if verdict.confidence is None:
        return [verdict.head, "none", "", "", "", "", lost, "", ""]
    claim = verdict.roles[0]
    feeders, readers = ([f for c in verdict.roles for f in getattr(c, side)] for side in ("feeders", "readers"))
    partners = [*by_channel(feeders), *(f"by {each}" for each in by_channel(readers))]
    also = [
        role_and_mechanism(other) + (" (contested)" if other.confidence == "contested" else "")
        for other in verdict.roles[1:]
    ]
    return [
        verdict.head,
        role_and_mechanism(claim),
        verdict.confidence,
        " ".join(SIGNS[claim.status(kind)] for kind in KINDS),
        *(with_null(report, claim, kind) for kind in KINDS[:2]),
        lost,
        ", ".join(partners),
        ", ".join(also),
    ]


def by_channel(partners: Sequence[Feeder]) -> list[str]:
    """ "L0H0, L0H3 (K)", then those of the next channel."""
    channels = dict.fromkeys(each.channel for each in partners)
    named = {c: dict.fromkeys(each.head for each in partners if each.channel == c) for c in channels}
    return [f"{', '.join(heads)} ({channel})" for channel, heads in named.items()]


def role_and_mechanism(claim: Claim) -> str:
    """ "induction (K)"."""
    return claim.role if claim.mechanism is None else f"{claim.role} ({SHORT[claim.mechanism]})"


def loss_without(report: AuditReport, verdict: Verdict) -> str:
    """What removing the head alone does to the loss, by the removal that costs less."""
    if report.sources.causal is None:
        return "skipped"
    costs = report.sources.causal.costs(Head.parse(verdict.head))[0]
    if math.isnan(costs.value):
        return ""
    value = number(costs.value)
    signed = value if value.startswith("-") else f"+{value}"
    by = "z" if "(by zero" in costs.name else "m"
    return f"{signed} {interval(costs.low, costs.high)} {by}"


def with_null(report: AuditReport, claim: Claim, kind: str) -> str:
    """The measurement that leads a kind of evidence, with its highest null."""
    measurement: Measurement | None = next((m for e in claim.evidence if e.kind == kind for m in e.measurements), None)
    if measurement is None:
        return "skipped" if kind in report.skipped else ""
    null = max(measurement.nulls.values(), default=None)
    return number(measurement.value, 2) + ("" if null is None else f" ({number(null, 2)})")


def legend(report: AuditReport) -> str:
    """What the columns hold, and the confidence words that occur."""
    words = dict.fromkeys(verdict.confidence for verdict in report.verdicts if verdict.confidence)
    protocol = "" if report.battery is None else f" On {report.battery['prefix_matching'].protocol}."
    trained = against_brute_force()
    induction = any(claim.mechanism for verdict in report.verdicts for claim in verdict.roles)
    lines = [
        "b w c: what behaviour, weights and causal evidence say: + for, − against, ? undecided, · missing.",
        "behaviour: the number that the role asks for first (attention where it says), and the highest null. weights: "
        "the leading weight score, and its null's threshold. loss without it alone: increase in nats on predictable "
        "tokens, 95 % interval, by mean (m) or by zero (z), whichever costs less. reads: earlier heads and the "
        f"composition (by: later heads that read it). also: its other roles.{protocol}",
        *(["induction (K), (Q), (smeared), (mixed), (?): by which mechanism; ? is not identified."] * induction),
        *(f"{word}: {meaning(word, bool(report.criteria.overridden))}." for word in words),
        *([f"{trained[0].upper()}{trained[1:]}."] * (induction and bool(trained))),
    ]
    return "\n".join(paragraph(line, 2) for line in lines)
