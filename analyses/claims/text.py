"""Claims and verdicts as plain text of at most 98 columns."""

import textwrap
from collections.abc import Sequence

from analyses.claims.claim import Claim
from analyses.claims.judge import Part
from analyses.claims.stored import Stored
from analyses.claims.words import TOPIC_NAMES, placebo_cell, topic_of
from analyses.claims.words import counted as words_counted
from analyses.tables import paragraph, table

NOT_RUN = "not run yet"
NAME_WIDTH = 50


def listing(claims: Sequence[Claim], stored: dict[str, Stored]) -> str:
    """Every claim with its stored verdict, and whether that is of today's source."""
    rows = []
    for claim in claims:
        found = stored.get(claim.name)
        verdict = NOT_RUN if found is None else found.verdict.word
        stale = "" if found is None or not found.stale(claim) else "stale"
        rows.append([numbers(claim.numbers), shortened(claim.name), verdict, stale])
    return table(["row", "claim", "verdict", ""], rows, "r") + "\n\n" + counted(claims, stored)


def report(claims: Sequence[Claim], stored: dict[str, Stored]) -> str:
    """By topic: each claim with its verdict and its placebo, and what the marks mean."""
    blocks = []
    for topic in TOPIC_NAMES:
        rows = [report_row(claim, stored.get(claim.name)) for claim in claims if topic_of(claim.numbers) == topic]
        if rows:
            blocks.append(f"{topic}\n{table(['row', 'claim', 'verdict', 'placebo'], rows, 'r')}")
    return "\n\n".join([*blocks, paragraph(MARKS), counted(claims, stored)])


MARKS = (
    "placebo: draws of twenty in which the control arm against itself was said to hold (for claims of equivalence, "
    "in: draws within the margin). * stale."
)


def report_row(claim: Claim, found: Stored | None) -> list[str]:
    """One line."""
    start = [numbers(claim.numbers), shortened(claim.name)]
    if found is None:
        return [*start, NOT_RUN, ""]
    stale = " *" if found.stale(claim) else ""
    return [
        *start,
        found.verdict.word + stale,
        placebo_cell(found["placebo"]).replace("within", "in").replace(" of ", "/"),
    ]


def counted(claims: Sequence[Claim], stored: dict[str, Stored]) -> str:
    """How many claims got which verdict, in a sentence, and what the word "stale" means where it stands."""
    here = [stored[claim.name] for claim in claims if claim.name in stored]
    parts = [words_counted([found.verdict.word for found in here])] if here else []
    if len(here) < len(claims):
        parts.append(f"{len(claims) - len(here)} {NOT_RUN}")
    text = f"{len(claims)} claims: {', '.join(parts)}."
    if any(stored[claim.name].stale(claim) for claim in claims if claim.name in stored):
        text += " Stale: what the numbers depend on has changed since; interp claims run NAME runs it again."
    return paragraph(text)


def details(found: Stored, stale: str = "") -> str:
    """One claim: its statement and source, the verdict, and every comparison with its values and interval."""
    head = f"{found.name} (row {numbers(found['numbers'])}): {found.verdict}"
    said = [paragraph(head), paragraph(f"{found['statement']} ({found['source']})", 2)]
    for label, name in (("Control", "why"), ("Slip", "slip"), ("Cannot be tested here", "untestable")):
        if found[name]:
            said.append(paragraph(f"{label}: {found[name]}", 2))
    if stale:
        said.append(paragraph(f"Stale: {stale} since it was run.", 2))
    said.append(indented(parts_table(found.parts)))
    said.append(paragraph(ran(found), 2))
    return "\n".join(said)


def ran(found: Stored) -> str:
    """How it was run."""
    seeds = f"{len(found['seeds'])} seeds" if len(found["seeds"]) > 1 else "1 seed"
    budget = "" if found["budget"] == 1 else f", budget {found['budget']:g}"
    return f"{seeds}{budget}, {found['cpu_seconds']:.1f} s of CPU time, torch {found['torch']}."


def placebos(found: Sequence[Stored]) -> str:
    """How often each claim's control, compared with itself, was said to hold."""
    rows = []
    for each in found:
        placebo = each["placebo"]
        alike = ", ".join(f"{w['within']} (±{digits(w['half_width'])})" for w in placebo["equivalent"])
        held = ["" if placebo[name] is None else str(placebo[name]) for name in ("holds", "with_a_condition")]
        seeds = f"{len(placebo['seeds'])}{' fresh' if placebo['fresh'] else ''}"
        rows.append([shortened(each.name), str(placebo["draws"]), seeds, *held, alike])
    header = ["claim", "draws", "seeds", "holds", "partly", "within the margin"]
    return table(header, rows, "lrrrr") + "\n\n" + paragraph(PLACEBO)


PLACEBO = (
    "The control arm against itself with other seeds, judged as the claim is: draws in which it was said to hold, to "
    "hold for some of its comparisons (partly), and, for claims of equivalence, in which the interval lay within the "
    "margin (in brackets the intervals' median half width). Draws from one pool share trainings and are not "
    "independent; draws with fresh seeds are."
)


def parts_table(parts: Sequence[Part]) -> str:
    """Comparisons: means of both sides, the effect with its interval, the margin, what this part alone says."""
    rows = [[wrapped(part.condition), *sides(part), effect(part), rule(part), short(part)] for part in parts]
    return table(["comparison", "value", "control", "effect [95 %]", "needed", ""], rows, "lrrrr")


def wrapped(condition: str) -> str:
    return textwrap.shorten(condition, 30, placeholder=" …")


def sides(part: Part) -> tuple[str, str]:
    """Mean of what is claimed about and of its control; of errors the largest, and the smallest of the wrong way."""
    if part.kind == "exact":
        return digits(max(part.treated)), digits(min(part.control))
    return digits(mean(part.treated)), digits(mean(part.control))


def effect(part: Part) -> str:
    """The mean difference (or log of the ratio) with its interval; none of errors."""
    if part.kind == "exact":
        return ""
    estimate = part.estimate
    if estimate is None:
        return "n/a"
    return f"{digits(estimate.mean)} [{digits(estimate.low)}, {digits(estimate.high)}]"


def rule(part: Part) -> str:
    """What the interval is held against."""
    log = " (log)" if part.scale == "log ratio" else ""
    sign = {"greater": "≥ ", "equivalent": "within ±", "exact": "≤ "}[part.kind]
    return f"{sign}{part.margin:g}{log}"


def short(part: Part) -> str:
    return {"holds": "holds", "does not hold here": "does not", "undecided at this budget": "undecided"}[part.outcome]


def numbers(rows: Sequence[int]) -> str:
    return ", ".join(map(str, rows))


def digits(value: float) -> str:
    """Three digits."""
    return f"{value:.3g}"


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def shortened(name: str) -> str:
    return name if len(name) <= NAME_WIDTH else name[: NAME_WIDTH - 1] + "…"


def indented(text: str) -> str:
    return textwrap.indent(text, "  ")
