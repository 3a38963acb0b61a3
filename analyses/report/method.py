"""What the words mean, which thresholds were used and where they come from, and how to get the same report."""

from dataclasses import asdict

from analyses.criteria import ROLES, SOURCES
from analyses.evidence import KINDS
from analyses.report.blocks import Block, Caution, Glossary, Section, Table, listed, sentence
from analyses.report.context import Context
from analyses.report.numbers import number

KIND_MEANINGS = {
    "behaviour": "what the head does on tokens",
    "weights": "what its matrices alone would do",
    "causal": "what breaks when it is removed",
}


def section(context: Context) -> Section:
    """Criteria, words, what was skipped, and the command."""
    report = context.report
    skipped = f"Left out on request: {listed(list(report.skipped))}." if report.skipped else "Nothing was left out."
    skipped = report.plan.text if report.plan is not None and report.plan.text else skipped
    blocks: tuple[Block, ...] = (
        *overridden(context),
        Table(
            ("criterion", "value", "where it comes from"),
            tuple(
                (name.replace("_", " "), value if isinstance(value, str) else number(value), SOURCES[name])
                for name, value in asdict(report.criteria).items()
            ),
            numeric=(1,),
        ),
        Glossary("Roles", tuple(ROLES.items())),
        Glossary("Kinds of evidence", tuple((kind, KIND_MEANINGS[kind]) for kind in KINDS)),
        *weights_notes(context),
        sentence(skipped),
        sentence("The same report again: ", context.command),
    )
    return Section(
        "method",
        "How this was decided, and how to do it again",
        "Every threshold with its value and source, every role with its meaning, and the command that makes this page.",
        'A threshold marked "ours" is a choice, not a finding: another one can give another verdict, and report.json '
        "holds every number that a different choice would need.",
        blocks,
    )


def overridden(context: Context) -> list[Block]:
    """Which thresholds are not the default ones, before the table of all."""
    changed = context.report.criteria.overridden
    own = listed(
        [f"{name.replace('_', ' ')} {each['value']} (default {each['default']})" for name, each in changed.items()]
    )
    return [Caution(f"These thresholds are not the default ones: {own}.")] if changed else []


def weights_notes(context: Context) -> list[Block]:
    """What was folded."""
    return [sentence(" ".join(context.weights.folded), quiet=True)] if context.weights.folded else []
