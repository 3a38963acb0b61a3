"""`interp audit`: a role for every head, with its evidence; exit codes that a script can stand on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analyses import exits
from analyses.arguments import Audit
from analyses.audit import AuditReport, Expectation, Judgement, audit
from analyses.commands import audit_diff
from analyses.commands.audit_context import context_lines
from analyses.evidence import CONFIDENCE, KINDS, Claim, Measurement, Verdict
from analyses.loading import Subject, load_subject
from analyses.output import plain, say, strict_json, write_files
from analyses.tables import interval, number, paragraph, table

SIGNS = {"for": "+", "against": "−", "undecided": "?", "missing": "·"}
CODES = {"holds": exits.OK, "undecided": exits.UNDECIDED, "fails": exits.EXPECTATION_FAILED}


def run(arguments: Audit) -> int:
    """Audits a model, writes report.json (and report.html with its figures), and judges the expectations."""
    if arguments.diff is not None:
        return audit_diff.run(arguments, arguments.diff)
    expectations = [Expectation.parse(text) for text in arguments.expect]
    subject = load_subject(arguments.model, arguments.device)
    folder = subject.folder(arguments.out)  # refuses one that cannot be written before the work
    report = audit(subject, seed=arguments.seed, skip=arguments.skip, tuned=arguments.lens == "tuned")
    judgements = report.judge(expectations, arguments.confidence)
    written = write(arguments, report, subject, folder, judgements)
    if arguments.json:
        print(document(report, judgements), end="")
        for path in written:
            say(f"wrote {path}")
    else:
        print(f"{text(report, subject, judgements)}\n")
        print("\n".join(f"wrote {path}" for path in written))
    return exit_code(judgements)


def exit_code(judgements: Sequence[Judgement]) -> int:
    """0 if every expectation holds, 1 if one surely fails, else 3."""
    outcomes = {judgement.outcome for judgement in judgements}
    return CODES["fails" if "fails" in outcomes else "undecided" if "undecided" in outcomes else "holds"]


def write(
    arguments: Audit, report: AuditReport, subject: Subject, folder: Path, judgements: Sequence[Judgement]
) -> list[Path]:
    """report.json alone, or the page with it and its figures; the paths to name."""
    if not arguments.report:
        write_files(folder, {"report.json": document(report, judgements)})
        return [folder / "report.json"]
    from analyses.report import write_report

    paths = write_report(report, subject, folder, {"expectations": [judged(j) for j in judgements]})
    return [path for path in paths if path.suffix in (".html", ".json")]


def document(report: AuditReport, judgements: Sequence[Judgement]) -> str:
    """report.json without the page's own numbers; what --json prints."""
    return strict_json({**report.to_dict(), "expectations": [judged(j) for j in judgements]})


def judged(judgement: Judgement) -> dict[str, Any]:
    expectation: dict[str, Any] = plain(judgement.expectation)
    found = {"heads": judgement.heads, "possible": judgement.possible, "outcome": judgement.outcome}
    return {**expectation, "confidence": judgement.confidence, **found}


def text(report: AuditReport, subject: Subject, judgements: Sequence[Judgement]) -> str:
    """The verdict table, what its columns are, and the expectations."""
    header = ["head", "role", "confidence", "b w c", "attention (null)", "weights (null)", "loss without it", "reads"]
    rows = [row(verdict) for verdict in report.verdicts]
    parts = [paragraph(subject.describe()), table(header, rows), legend(report)]
    notes = [f"{v.head}: {note}." for v in report.verdicts for c in v.claims[:1] for note in c.notes]
    parts += context_lines(report.in_context, report.sources.readable)
    parts += [paragraph(note, 2) for note in notes]
    parts += [f"expected {judgement}" for judgement in judgements]
    return "\n\n".join(parts)


def row(verdict: Verdict) -> list[str]:
    if verdict.confidence is None:
        return [verdict.head, "none", "", "", "", "", "", ""]
    claim = verdict.claims[0]
    feeders = ", ".join(f"{feeder.head} ({feeder.channel})" for feeder in claim.feeders)
    return [
        verdict.head,
        verdict.role,
        verdict.confidence,
        " ".join(SIGNS[claim.status(kind)] for kind in KINDS),
        with_null(first(claim, "behaviour")),
        with_null(first(claim, "weights")),
        with_interval(loss_without(claim)),
        feeders,
    ]


def first(claim: Claim, kind: str) -> Measurement | None:
    """The measurement that leads a kind of evidence."""
    return next((m for e in claim.evidence if e.kind == kind for m in e.measurements), None)


def loss_without(claim: Claim) -> Measurement | None:
    """What removing the head alone does to the loss, whether that decides or not."""
    causal = (m for e in claim.evidence if e.kind == "causal" for m in e.measurements)
    return next((m for m in causal if m.name.startswith("loss on predictable tokens when removed")), None)


def with_null(measurement: Measurement | None) -> str:
    if measurement is None:
        return "skipped"
    null = max(measurement.nulls.values(), default=None)
    return number(measurement.value, 2) + ("" if null is None else f" ({number(null, 2)})")


def with_interval(measurement: Measurement | None) -> str:
    if measurement is None:
        return "skipped"
    value = number(measurement.value)
    signed = value if value.startswith("-") else f"+{value}"
    return f"{signed} {interval(measurement.low, measurement.high)}"


def legend(report: AuditReport) -> str:
    """What the columns hold, and the confidence words that occur."""
    words = dict.fromkeys(verdict.confidence for verdict in report.verdicts if verdict.confidence)
    protocol = "" if report.battery is None else f" On {report.battery['prefix_matching'].protocol}."
    lines = [
        "b w c: what behaviour, weights and causal evidence say: + for, − against, ? undecided, · missing.",
        "attention: where the role says, beside the highest null. weights: the leading weight score, beside its null's "
        "threshold. loss without it alone: increase in nats on predictable tokens, by mean or by zero, whichever costs "
        f"less, 95 % interval. reads: earlier heads and the composition.{protocol}",
        *(f"{word}: {CONFIDENCE[word]}." for word in words),
    ]
    return "\n".join(paragraph(line, 2) for line in lines)
