"""From an audit to its files: everything is made first, then written whole."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from analyses.audit.result import AuditReport
from analyses.loading import Subject
from analyses.output import strict_json, write_files
from analyses.report import (
    behaviour,
    causal,
    circuits,
    composition,
    idealised,
    in_context,
    lens,
    method,
    patterns,
    planned,
    scores,
    terms,
    training,
    words,
)
from analyses.report.blocks import Section
from analyses.report.context import Context
from analyses.report.render import render

HTML, JSON = "report.html", "report.json"
SECTIONS: tuple[Callable[[Context], Section], ...] = (
    behaviour.section,
    patterns.section,
    causal.section,
    idealised.section,
    in_context.section,
    terms.section,
    scores.section,
    circuits.section,
    composition.section,
    lens.section,
    training.section,
    method.section,
)
FEW_SECTIONS: tuple[Callable[[Context], Section], ...] = (
    planned.section,
    behaviour.section,
    patterns.section,
    causal.section,
    method.section,
)
"""Of a model that was not measured in full: what does not ask for every head or every token."""


def write_report(
    report: AuditReport, subject: Subject, out: Path, extra: Mapping[str, Any] | None = None
) -> list[Path]:
    """Writes report.html, report.json and each figure as report-NAME.png into the folder `out`; their paths.

    `extra` goes into report.json beside what is there.
    Raises `OutputError` (an `InputError`) if something cannot be written; then nothing is new in the folder.
    """
    files = report_files(report, subject, extra)
    write_files(out, files)
    return [out / name for name in files]


def report_files(
    report: AuditReport, subject: Subject, extra: Mapping[str, Any] | None = None
) -> dict[str, bytes | str]:
    """The files of a report by name: the page, the numbers, and every figure.

    `report` must be the audit of `subject`'s model. report.json holds `report.to_dict()` and, under `page`, the
    conclusion and what was measured for the page alone.
    """
    context = Context(report, subject)
    whole = report.plan is None or report.plan.everything
    sections = tuple(make(context) for make in (SECTIONS if whole else FEW_SECTIONS))
    pictures = [picture for section in sections for picture in section.pictures]
    return {
        HTML: render(context, sections),
        JSON: strict_json({**report.to_dict(), **(extra or {}), "page": page_values(report, sections)}),
        **{picture.file: picture.png for picture in pictures},
    }


def page_values(report: AuditReport, sections: tuple[Section, ...]) -> dict[str, Any]:
    """What the page shows beyond the audit."""
    return {
        "conclusion": words.conclusion(report),
        "other_findings": words.other_findings(report),
        **{section.name: section.values for section in sections if section.values},
        "figures": [picture.file for section in sections for picture in section.pictures],
    }
