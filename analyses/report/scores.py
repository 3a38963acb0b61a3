"""What carries the attention scores of the heads that match prefixes, on the report's own tokens."""

from collections.abc import Mapping
from math import nan

from analyses.paths.scores import Chains, ScoreParts
from analyses.paths.words import KIND_COLORS, KINDS_IN_WORDS, chain_name, chains_name
from analyses.report.blocks import Block, Caution, Cell, Piece, Section, Table, sentence
from analyses.report.context import MOST_TAKEN_APART, READING, Context
from analyses.report.drawing import picture
from analyses.report.numbers import interval, number
from analyses.report.terms import cells
from interp.names import Head
from interp.paths.scores import KINDS, Kind
from interp.plots import signed_bars
from interp.stats import Estimate

MOST_ROWS = 10
MOST_TERMS = 20
NAMES: dict[Kind, str] = {"direct": "direct", "Q": "Q-composition", "K": "K-composition", "both": "both"}
WORDS: dict[Kind, str] = {
    "direct": "needs no earlier head",
    "Q": "is Q-composition",
    "K": "is K-composition",
    "both": "comes through earlier heads on both sides",
}
NAMED = 0.1
"""Chains are named in words from this share of the contrast on, if their interval leaves out 0."""


def section(context: Context) -> Section:
    """A sentence for each head, the figure, the parts by kind, and the strongest chains."""
    parts = context.score_parts
    return Section(
        "scores",
        "What tells induction heads where to look",
        "The attention score of each head at what followed earlier copies, minus the mean score of its other keys, "
        "taken apart by whether query and key came through earlier heads. The parts add up to the whole; a diamond "
        "is the same part on tokens that do not repeat.",
        "An induction head made by K-composition has nearly all of it in the part K, through a head that looks back by "
        "one, and nothing there on fresh tokens. What stays on fresh tokens depends on positions, not on a match.",
        blocks_of(context, parts),
        {str(head): found.to_dict(MOST_TERMS) for head, found in parts.items()},
    )


def blocks_of(context: Context, parts: Mapping[Head, ScoreParts]) -> tuple[Block, ...]:
    if not parts:
        return (nothing(context),)
    every = list(parts.values())
    worst, one = max(found.error for found in every), every[0]
    note = (
        f"On {context.sample.text}. Scores are in nats before the softmax; intervals are over sequences. Fresh tokens: "
        f"{one.null_text}. At keys picked at random the contrast is 0 on average, with a standard deviation of at most "
    )
    deviation = max(found.deviation for found in every)
    exact = (". The parts add up to the scores, to ", number(worst), " of the largest.")
    return (
        *(sentence(*in_words(context, found)) for found in every),
        bars(parts),
        kinds(parts),
        chains(parts),
        *left_out(context),
        sentence(note, number(deviation), *exact, quiet=True),
    )


def nothing(context: Context) -> Block:
    if context.report.battery is None:
        return Caution("Not measured: behaviour was left out (--skip behaviour), and roles rest on it.")
    return sentence("No head looks for what followed earlier copies, so there is no such score to take apart.")


def left_out(context: Context) -> list[Block]:
    found = sum(verdict.role in READING for verdict in context.with_role)
    if found <= MOST_TAKEN_APART:
        return []
    return [sentence(f"The {MOST_TAKEN_APART} surest of {found} such heads.", quiet=True)]


def in_words(context: Context, found: ScoreParts) -> list[Piece]:
    """Which part is the largest, and the chains that make up a tenth of the whole or more."""
    if found.contrast.low <= 0:
        return [f"{found.head}: a contrast of ", *spaced(found.contrast), ", not above 0 for sure."]
    kind, largest = max(found.kinds.estimates.items(), key=lambda item: item[1].mean)
    pieces: list[Piece] = [f"{found.head}: of a contrast of ", *spaced(found.contrast), ", "]
    pieces += [*spaced(largest), f" {WORDS[kind]}"]
    named = [pair for pair in found.chains.estimates if pair != ((), ()) and counts(found, pair)]
    for pair in named:
        pieces += [f"; {through(context, pair)} gives ", number(found.chains.estimates[pair].mean)]
    if not named and kind != "direct":
        pieces.append(", spread over many chains")
    return [*pieces, "."]


def through(context: Context, pair: Chains) -> str:
    """Such as "K through L0H1 (previous-token)"."""
    heads = [*pair[0], *pair[1]]
    role = context.report[str(heads[0])].role if len(heads) == 1 else "none"
    return chains_name(pair) + ("" if role == "none" else f" ({role})")


def spaced(estimate: Estimate) -> list[Piece]:
    return [number(estimate.mean), " ", interval(estimate.low, estimate.high)]


def counts(found: ScoreParts, pair: Chains) -> bool:
    part = found.chains.estimates[pair]
    return abs(part.mean) >= NAMED * abs(found.contrast.mean) and part.low * part.high > 0


def bars(parts: Mapping[Head, ScoreParts]) -> Block:
    """Parts by kind, a row a head."""
    found = list(parts.values())
    nulls = {NAMES[kind]: [(each.kinds.null or {}).get(kind, nan) for each in found] for kind in KINDS}
    figure = signed_bars(
        [str(head) for head in parts],
        {NAMES[kind]: [each.kinds.estimates[kind] for each in found] for kind in KINDS},
        nulls=nulls,
        null_name="fresh tokens",
        colors={NAMES[kind]: color for kind, color in KIND_COLORS.items()},
        title="What carries the score at what followed earlier copies",
        label="part of the contrast (score units)",
    )
    return picture("scores", figure, "Parts of each head's score contrast: direct, Q-, K- and both-composition")


def kinds(parts: Mapping[Head, ScoreParts]) -> Table:
    """Contrast and parts, each beside its value on fresh tokens."""
    rows: list[tuple[Cell, ...]] = []
    for head, found in parts.items():
        rows.append(
            (str(head), "contrast", *cells(found.contrast), number(found.null), "" if found.shares is None else "1")
        )
        for kind, estimate in found.kinds.estimates.items():
            null = None if found.kinds.null is None else found.kinds.null[kind]
            share = "" if found.shares is None else number(found.shares[kind])
            rows.append(("", f"{kind}: {KINDS_IN_WORDS[kind]}", *cells(estimate), number(null), share))
    caption = "Shares only where no part counts against the others."
    return Table(("head", "part", "score", "interval", "fresh tokens", "share"), tuple(rows), caption, (2, 3, 4, 5))


def chains(parts: Mapping[Head, ScoreParts]) -> Table:
    """The strongest chains of earlier heads into query and key of each head."""
    rows: list[tuple[Cell, ...]] = []
    for head, found in parts.items():
        for pair, estimate in list(found.chains.estimates.items())[:MOST_ROWS]:
            null = None if found.chains.null is None else found.chains.null.get(pair, 0.0)
            rows.append((str(head), *map(chain_name, pair), *cells(estimate), number(null)))
    header = ("head", "query through", "key through", "score", "interval", "fresh tokens")
    return Table(header, tuple(rows), numeric=(3, 4, 5), summary="The strongest chains of earlier heads")
