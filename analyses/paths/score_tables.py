"""The parts of an attention score as tables for the terminal."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from analyses.paths.scores import TARGETS, Parts, ScoreParts
from analyses.paths.term_tables import cells
from analyses.paths.words import KINDS_IN_WORDS, chain_name
from analyses.tables import number, paragraph, table

Key = TypeVar("Key")


def score_report(found: ScoreParts, top: int) -> list[str]:
    """What the contrast is, and its parts by kind, by chains and by path."""
    single = found.contrast.n == 1
    return [
        paragraph(introduction(found)),
        kind_table(found, single),
        *([] if found.head.layer == 0 else [chain_table(found, top, single)]),
        term_table(found, top, single),
        paragraph(exactness(found)),
    ]


def introduction(found: ScoreParts) -> str:
    """What is compared, and what it is where there is nothing to find."""
    text = (
        f"The attention score of {found.head} at {TARGETS[found.aim][0]}, minus the mean score of the query's other "
        "allowed keys (the contrast; nats before the softmax), by whether query and key came through earlier heads. "
        f"At keys picked at random it is 0 on average, with a standard deviation of {found.deviation:.2g}."
    )
    if found.null is not None:
        text += f" fresh: the same pairs of positions on fresh tokens ({found.null_text})."
    if found.contrast.n == 1:
        text += " It is of one sequence, so that there is no interval."
    if found.head.layer == 0:
        text += f" {found.head} is in the first layer, so that nothing but direct paths lead into it."
    return text


def kind_table(found: ScoreParts, single: bool) -> str:
    """The contrast and its four parts."""
    share, null = found.shares, found.kinds.null
    rows = [["contrast", "", *cells(found.contrast), *present(found.null), *([] if share is None else ["100%"])]]
    for kind, estimate in found.kinds.estimates.items():
        fresh = present(None if null is None else null[kind])
        part = [] if share is None else [f"{share[kind]:.0%}"]
        rows.append([kind, KINDS_IN_WORDS[kind], *cells(estimate), *fresh, *part])
    header = ["part", "", "score", "interval", *(["fresh"] if null else []), *(["share"] if share else [])]
    text = table(*without_interval(header, rows, single), "llrlrr" if not single else "llrr")
    return text if share else f"{text}\nNo shares: the parts have different signs."


def present(value: float | None) -> list[str]:
    """The cell of a column that is there only where there are values."""
    return [] if value is None else [number(value)]


def chain_table(found: ScoreParts, top: int, single: bool) -> str:
    """The strongest chains of heads into query and key."""
    return part_table(
        found.chains, top, ["query through", "key through"], single, lambda pair: [*map(chain_name, pair)], "chains"
    )


def term_table(found: ScoreParts, top: int, single: bool) -> str:
    """The strongest pairs of paths, sources apart."""
    return part_table(found.terms, top, ["query", "key"], single, lambda pair: [*map(str, pair)], "pairs of paths")


def part_table(
    parts: Parts[Key], top: int, names: list[str], single: bool, name: Callable[[Key], list[str]], what: str
) -> str:
    shown = list(parts.estimates.items())[:top]
    null: Mapping[Key, float] | None = parts.null
    rows = [
        [*name(key), *cells(estimate, signed=True), *([] if null is None else [number(null.get(key, 0.0))])]
        for key, estimate in shown
    ]
    header = [*names, "score", "interval", *([] if null is None else ["fresh"])]
    text = table(*without_interval(header, rows, single), "llrlr" if not single else "llrr")
    return text if parts.n == len(shown) else f"{text}\nThe {len(shown)} strongest of {parts.n} {what}."


def without_interval(header: list[str], rows: list[list[str]], single: bool) -> tuple[list[str], list[list[str]]]:
    """Leaves out the column of intervals where one sequence has none."""
    if not single:
        return header, rows
    at = header.index("interval")
    return header[:at] + header[at + 1 :], [row[:at] + row[at + 1 :] for row in rows]


def exactness(found: ScoreParts) -> str:
    """Whether the parts add up."""
    if found.complete:
        return f"The parts add up to the model's scores, to {found.error:.1e} of the largest."
    return f"Longer paths were left out (--order): {found.missing:+.3f} of the contrast are missing."
