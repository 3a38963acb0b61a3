"""How strongly heads could read from earlier heads by their weights, and which of that tokens confirm."""

from collections.abc import Mapping
from typing import Any

from analyses.audit.matching import READINGS
from analyses.audit.weight_evidence import WeightEvidence
from analyses.report.blocks import Block, Caution, Cell, Mark, Section, Table, sentence
from analyses.report.context import Context
from analyses.report.drawing import picture
from analyses.report.numbers import interval, number
from analyses.report.score_evidence import carried
from interp.composition import Compositions, Kind, compositions
from interp.composition.edges import LEVEL
from interp.composition.edges import Edge as Composed
from interp.names import Head
from interp.plots.composition import effect_graph
from interp.stats import Estimate

KINDS: tuple[Kind, ...] = ("K", "Q", "V")
MOST_ROWS = 24
DRAWS = 400
OnTokens = Mapping[tuple[str, tuple[int, int], tuple[int, int]], Estimate]
UNIT = "part of the later head's score contrast that comes that way, on tokens"


def section(context: Context) -> Section:
    """The graph by effect, its edges with their numbers, and what weights match in token space."""
    evidence, layers = context.report.sources.weights, context.subject.config.n_layers
    blocks: list[Block] = []
    values: dict[str, Any] = {}
    if evidence is None:
        blocks.append(Caution("Not measured: weights were left out (--skip weights)."))
    elif layers < 2:
        blocks.append(sentence("The model has one layer: there is no earlier head to read."))
    else:
        found = compositions(context.weights, context.generator(), DRAWS, context.offset, KINDS)
        on_tokens = seen_on_tokens(context)
        blocks += [*summary(found), graph(context, found, on_tokens), edges(found, on_tokens), matches(evidence)]
        if context.offset is not None:
            text = f"Rotary positions: query and key are {context.offset} positions apart here."
            blocks.append(sentence(text, quiet=True))
        values = found.to_dict() | {"on_tokens": written(on_tokens)}
    return Section(
        "composition",
        "Which head could read which (weights only)",
        "An arrow says that a later head's weights respond to what an earlier head writes: through its keys (K), which "
        "say what each position offers, its queries (Q), which say what the present position looks for, or its values "
        "(V), which are what it moves on. Its width is the effect: 0 is what a random rotation between the two gives, "
        "1 the most that these matrices could.",
        "Dashed arrows are of the weights only: what the matrices allow, not what happens on tokens. A trained model "
        "has many that are no part of a circuit. One drawn through also carries the attention score of its later head "
        "on tokens; evidence for a circuit is that, and a loss of prefix matching above when the same head leaves the "
        "same input.",
        tuple(blocks),
        values,
    )


def seen_on_tokens(context: Context) -> OnTokens:
    """What the score expansion says of the same edges, K and Q."""
    return {
        (side, (earlier.layer, earlier.index), (later.layer, later.index)): estimate
        for (earlier, later, side), estimate in carried(context).items()
    }


def written(on_tokens: OnTokens) -> dict[str, Any]:
    named = {f"{Head(*early)} -> {Head(*late)}.{kind}": each for (kind, early, late), each in on_tokens.items()}
    return {edge: each.to_dict() for edge, each in named.items()}


def summary(found: Compositions) -> list[Block]:
    """How many edges stand out, and the warning where the basis is free."""
    above, below = found.above(), found.below()
    first = found.kinds["K"]
    text = (
        f"{len(above)} of {found.tested} edges compose more than a random rotation explains (q ≤ {LEVEL:g}, allowing "
        f"for all of them and for shared heads), {len(below)} less. The root mean square of random matrices is "
    )
    blocks: list[Block] = [sentence(text, number(first.baseline), " (one over the root of the stream's size).")]
    if first.warning is not None:
        blocks.append(Caution(f"Mind: {first.warning.replace('the K-term', 'the term')}. It stands in the table."))
    return blocks


def graph(context: Context, found: Compositions, on_tokens: OnTokens) -> Block:
    """Arrows that exceed their null."""
    figure = effect_graph(
        {kind: each.share for kind, each in found.kinds.items()},
        found.q_above,
        title="Which later head could read which earlier one",
        level=LEVEL,
        on_tokens=on_tokens,
        unit=UNIT,
        protocol="Null: a random rotation between the two matrices; q: Benjamini and Yekutieli over all edges.",
        notes={(h.layer, h.index): context.report[str(h)].role for h in context.marked},
    )
    return picture("composition", figure, "Graph of heads with an arrow for each edge that composes more than its null")


def edges(found: Compositions, on_tokens: OnTokens) -> Table:
    """The edges of the highest share, with what tokens and token space say of each."""
    order = sorted(found.edges(), key=lambda edge: -edge.share if edge.share == edge.share else 1e9)
    rows = [edge_row(edge, found, on_tokens) for edge in order[:MOST_ROWS]]
    caption = (
        "Score: ‖OV·M‖ / (‖OV‖ ‖M‖) (Elhage et al. 2021). Bound: the most that a rotation gives. Share: 0 at the null, "
        "1 at the bound. q of more and of less than the null. Tokens and positions: eigenvalue score of the term over "
        f"both, where raw scores depend on the basis. On tokens: {UNIT}, in score units, with a 95 % interval; of "
        "heads that match prefixes only."
    )
    if len(order) > len(rows):
        caption += f" The {len(rows)} of the highest share of {len(order)}."
    header = ("heads", "by", "score", "bound", "share", "q more", "q less", "tokens and positions", "on tokens", "")
    return Table(header, tuple(rows), caption, tuple(range(2, 9)), summary="Composition scores of the matrices")


def edge_row(edge: Composed, found: Compositions, on_tokens: OnTokens) -> tuple[Cell, ...]:
    at = (*edge.earlier, *edge.later)
    terms = found.kinds[edge.kind].in_tokens
    seen = on_tokens.get((edge.kind, (edge.earlier.layer, edge.earlier.index), (edge.later.layer, edge.later.index)))
    return (
        f"{edge.later} reads {edge.earlier}",
        edge.kind,
        *(number(each) for each in (edge.score, edge.bound, edge.share, edge.q_above, edge.q_below)),
        "" if terms is None else number(float(terms.eigenvalue.value[at])),
        "" if seen is None else number(seen.mean),
        "" if seen is None else interval(seen.low, seen.high),
    )


def matches(evidence: WeightEvidence) -> Table:
    """The strongest edge first, each beside its null's quantile."""
    order = sorted(
        (edge for each in evidence.edges.values() for edge in each), key=lambda edge: edge.threshold - edge.value
    )
    rows: list[tuple[Cell, ...]] = []
    for edge in order[:MOST_ROWS]:
        stands = Mark("above", "for") if edge.stands_out else Mark("not above", "missing")
        between = f"{edge.later} reads {edge.earlier}"
        rows.append((between, edge.channel, number(edge.value), number(edge.threshold), stands))
    left = len(order) - len(rows)
    caption = "; ".join(f"{channel}: {text}" for channel, text in READINGS.items())
    caption += ". Null: the table with its columns relabelled at random."
    if left:
        caption += f" The {len(rows)} strongest of {len(order)}."
    return Table(
        ("heads", "by", "match", "null's quantile", ""), tuple(rows), caption, (2, 3), "Every match with its null"
    )
