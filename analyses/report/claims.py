"""The page of claims: a table of verdicts, and below it each claim with its comparisons and its figure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analyses.claims.claim import Claim
from analyses.claims.figures import figure_of
from analyses.claims.judge import Part
from analyses.claims.placebo import holds_too_often
from analyses.claims.stored import Stored
from analyses.claims.text import numbers, ran
from analyses.claims.words import (
    MEANINGS,
    TOPIC_NAMES,
    WORDS,
    counted,
    needed,
    placebo_cell,
    placebo_text,
    reason,
    topic_of,
)
from analyses.report.blocks import Cell, Mark, Picture, Piece, Table
from analyses.report.environment import make_environment
from analyses.report.numbers import interval, number, shown
from interp.documents import STYLE, page
from interp.documents import Part as PagePart
from interp.plots import png_bytes

DPI = 90
STYLES = dict(zip(WORDS, ("holds", "partly", "not", "open", "untested"), strict=True))
MARKS = {"holds": "for", "does not hold here": "against", "undecided at this budget": "undecided"}
METHOD = (
    "The statements are those of a set of study notes on deep learning (the notes); where one has a slip, that is said "
    "beside it. Every claim declares what is compared with what, which way it has to go, and the smallest difference "
    "that would matter (the margin). Where an experiment was designed anew after a first look at its numbers, the lab "
    "notes (notebooks/LOG.md) say so. Arms of one claim share their seeds, and with them the order of the "
    "data; effects are differences (or logarithms of ratios) paired by seed, with a 95 % t-interval over seeds. Where "
    "values can only change in steps (one test image), no interval is narrower than rounding alone would make it.",
    "Greater: holds if the interval lies above 0 and the mean reaches the margin; does not hold if the interval lies "
    "below 0 or whole within the margin; else undecided. Alike: holds if the whole interval lies within the margin, "
    "does not if it lies whole outside. Exact: every error at most the tolerance, and every error of the wrong way "
    "above it. A claim holds if all its comparisons do, with a condition if some do.",
    "Placebo: the control arm against itself with other seeds, judged in the same way; a claim that says holds there "
    "more than twice in twenty draws is marked. Intervals are for one comparison at a time: among many claims some "
    "will be right or wrong by chance.",
)


@dataclass(frozen=True)
class Row:
    """A claim as the template shows it."""

    name: str
    numbers: str
    statement: str
    source: str
    why: str
    slip: str
    untestable: str
    word: str
    style: str
    meaning: str
    condition: str
    stale: str
    deciding: Cell
    placebo: str
    many: bool
    placebo_text: str
    ran: str
    table: Table
    picture: Picture | None


def claims_page(claims: Sequence[Claim], stored: Mapping[str, Stored], command: str) -> str:
    """The whole document; claims without a result are only counted."""
    there = [(claim, stored[claim.name]) for claim in claims if claim.name in stored]
    rows = [(topic_of(claim.numbers), row_of(found, found.stale(claim))) for claim, found in there]
    topics = [(name, [row for topic, row in rows if topic == name]) for name in TOPIC_NAMES]
    environment = make_environment()
    environment.filters["anchor"] = lambda topic: topic.lower().replace(" ", "-")
    body = environment.get_template("claims.html.j2").render(
        conclusion=conclusion([found for _, found in there], len(claims)),
        facts=facts([found for _, found in there]),
        topics=[(topic, each) for topic, each in topics if each],
        legend=[{"word": word, "style": STYLES[word], "meaning": MEANINGS[word]} for word in WORDS],
        method=METHOD,
        command=command,
    )
    style = STYLE + "".join(environment.get_template(name).render() for name in ("report.css", "claims.css"))
    return page("Claims about small networks, re-run", [PagePart(body)], style=style)


def conclusion(found: Sequence[Stored], total: int) -> str:
    """How many got which verdict."""
    missing = f"; {total - len(found)} not run yet" if len(found) < total else ""
    return f"Of {total} claims {counted([each.verdict.word for each in found]) or 'none was run'}{missing}."


def facts(found: Sequence[Stored]) -> list[tuple[str, str]]:
    """How they were run."""
    if not found:
        return []
    seeds = sorted({len(each["seeds"]) for each in found})
    return [
        ("seeds", f"{', '.join(map(str, seeds))} for each arm"),
        ("cost", f"{shown(cpu_seconds(found) / 60)} min of CPU time, arms that claims share counted once"),
        ("torch", ", ".join(sorted({each["torch"] for each in found}))),
    ]


def cpu_seconds(found: Sequence[Stored]) -> float:
    """Over all different arms."""
    arms = {
        f"{arm['function']} {sorted(arm['config'].items())}": arm["seconds"]
        for f in found
        for arm in f["arms"].values()
    }
    return float(sum(arms.values()))


def row_of(found: Stored, stale: str) -> Row:
    """Everything about one claim."""
    verdict, parts = found.verdict, found.parts
    arms = [(part["treated_arm"], part["control_arm"]) for part in found["parts"]]
    return Row(
        **{name: found[name] for name in ("name", "statement", "source", "why", "slip", "untestable")},
        numbers=numbers(found["numbers"]),
        word=verdict.word,
        style=STYLES[verdict.word],
        meaning=MEANINGS[verdict.word],
        condition=verdict.condition,
        stale=stale,
        deciding=deciding(parts),
        placebo=placebo_cell(found["placebo"]),
        many=holds_too_often(found["placebo"]),
        placebo_text=placebo_text(found["placebo"]),
        ran=ran(found),
        table=parts_table(parts, arms),
        picture=picture_of(found),
    )


def picture_of(found: Stored) -> Picture | None:
    """The figure, if there is something to draw."""
    if not found["parts"] and not found["picture"]:
        return None
    figure, description = figure_of(found)
    return Picture(f"claim-{found.name}.png", png_bytes(figure, DPI), description)


def parts_table(parts: Sequence[Part], arms: Sequence[tuple[str, str]]) -> Table:
    """Values per seed of both sides, the effect, what it is held against, and the reason."""
    rows = []
    for part, (treated, control) in zip(parts, arms, strict=True):
        what = f"{part.condition}: {part.measure}" if part.measure != part.condition else part.condition
        sides = [(f"{arm}: ", *values(each)) for arm, each in ((treated, part.treated), (control, part.control))]
        outcome = Mark(part.outcome, MARKS[part.outcome])
        rows.append((what, *sides, effect(part), needed(part), (outcome, f": {reason(part)}")))
    header = ("comparison", "claimed about, per seed", "control, per seed", "effect [95 %]", "needed", "outcome")
    return Table(header, tuple(rows))


def values(each: Sequence[float]) -> tuple[Piece, ...]:
    """Numbers with commas between."""
    found: list[Piece] = []
    for value in each:
        found += [number(value), ", "]
    return tuple(found[:-1])


def effect(part: Part) -> Cell:
    """Mean and interval; the largest error of an identity."""
    if part.kind == "exact":
        return ("largest error ", number(max(part.treated)))
    estimate = part.estimate
    return "n/a" if estimate is None else (number(estimate.mean), " ", interval(estimate.low, estimate.high))


def deciding(parts: Sequence[Part]) -> Cell:
    """The first comparison, and of several how many hold."""
    if not parts:
        return ""
    first, held = parts[0], sum(part.outcome == "holds" for part in parts)
    found = effect(first)
    all_of_them = f"; {held} of {len(parts)} comparisons hold" if len(parts) > 1 else ""
    pieces = found if isinstance(found, tuple) else (found,)
    return (f"{first.condition}: ", *pieces, f" ({needed(first)}){all_of_them}")
