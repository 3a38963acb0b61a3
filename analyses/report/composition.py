"""How strongly heads could read from earlier heads, by their weights alone."""

from typing import Any

import torch
from torch import Tensor

from analyses.audit.matching import READINGS, Channel
from analyses.audit.weight_evidence import WeightEvidence
from analyses.report.blocks import Block, Caution, Cell, Mark, Section, Table, sentence
from analyses.report.context import Context
from analyses.report.drawing import picture
from analyses.report.numbers import number
from interp.composition import Composition, Kind, composition
from interp.plots import composition_graph

KINDS: tuple[Kind, ...] = ("K", "Q", "V")
MOST_ROWS = 24
DRAWS = 100


def section(context: Context) -> Section:
    """The graph in token space, what its arrows are, and the scores of the matrices."""
    evidence, layers = context.report.sources.weights, context.subject.config.n_layers
    blocks: list[Block] = []
    values: dict[str, Any] = {}
    if evidence is None:
        blocks.append(Caution("Not measured: weights were left out (--skip weights)."))
    elif layers < 2:
        blocks.append(sentence("The model has one layer: there is no earlier head to read."))
    else:
        w, offset = context.weights, context.offset
        scores = {kind: composition(w, kind, context.generator(), DRAWS, offset) for kind in KINDS}
        blocks += [graph(context, evidence), matches(evidence), *residual(context, scores)]
        if offset is not None:
            blocks.append(sentence(f"Rotary positions: query and key are {offset} positions apart here.", quiet=True))
        values = {kind: each.to_dict() for kind, each in scores.items()}
    return Section(
        "composition",
        "Which head could read which (weights only)",
        "An arrow says that a later head's weights respond to what an earlier head writes: through its keys (K), which "
        "say what each position offers, or its queries (Q), which say what the present position looks for.",
        "These numbers are of the weights only: what the matrices allow, not what happens on tokens. Evidence for a "
        "circuit is an arrow here and a loss of prefix matching above when the same head leaves the same input.",
        tuple(blocks),
        values,
    )


def graph(context: Context, evidence: WeightEvidence) -> Block:
    """Arrows that exceed their null."""
    layers, heads = context.subject.config.n_layers, context.subject.config.n_heads
    channels: list[Channel] = ["K"] if context.weights.W_pos is None else ["K", "Q"]
    shape = (layers, heads, layers, heads)
    scores: dict[str, Tensor] = {channel: torch.zeros(shape) for channel in channels}
    nulls: dict[str, Tensor] = {channel: torch.zeros(shape) for channel in channels}
    for edges in evidence.edges.values():
        for edge in edges:
            scores[edge.channel][(*edge.earlier, *edge.later)] = edge.value
            nulls[edge.channel][(*edge.earlier, *edge.later)] = edge.threshold
    figure = composition_graph(
        scores,
        nulls,
        title="Which later head matches tokens or places through which earlier one",
        protocol="Baseline: the null's quantile, corrected for the number of edges of the later head.",
        notes={(h.layer, h.index): context.report[str(h)].role for h in context.marked},
    )
    return picture(
        "composition", figure, "Graph of heads with an arrow where a later head's weights match an earlier's"
    )


def matches(evidence: WeightEvidence) -> Table:
    """The strongest edge first, each beside its null's quantile."""
    edges = sorted(
        (edge for each in evidence.edges.values() for edge in each), key=lambda edge: edge.threshold - edge.value
    )
    rows: list[tuple[Cell, ...]] = []
    for edge in edges[:MOST_ROWS]:
        stands = Mark("above", "for") if edge.stands_out else Mark("not above", "missing")
        between = f"{edge.later} reads {edge.earlier}"
        rows.append((between, edge.channel, number(edge.value), number(edge.threshold), stands))
    left = len(edges) - len(rows)
    caption = "; ".join(f"{channel}: {text}" for channel, text in READINGS.items())
    caption += ". Null: the table with its columns relabelled at random."
    if left:
        caption += f" The {len(rows)} strongest of {len(edges)}."
    return Table(
        ("heads", "by", "match", "null's quantile", ""), tuple(rows), caption, (2, 3), "Every match with its null"
    )


def residual(context: Context, scores: dict[Kind, Composition]) -> list[Block]:
    """The usual composition scores of matrices, with their baseline."""
    pairs = [(e, later) for e in context.heads for later in context.heads if e.layer < later.layer]

    def strongest(pair: tuple[tuple[int, int], tuple[int, int]]) -> float:
        return max(float(each.score[(*pair[0], *pair[1])]) for each in scores.values())

    rows: list[tuple[Cell, ...]] = []
    for early, late in sorted(pairs, key=lambda pair: -strongest(pair))[:MOST_ROWS]:
        row: list[Cell] = [f"{late} reads {early}"]
        for each in scores.values():
            row.append(number(float(each.score[(*early, *late)])))
        rows.append(tuple(row))
    first = scores["K"]
    header = ("heads", *(f"{kind}-composition" for kind in scores))
    caption = "Composition scores of Elhage et al. 2021, ‖OV·M‖ / (‖OV‖ ‖M‖), strongest pairs first."
    blocks: list[Block] = [
        sentence(
            "The usual scores compare matrices in the residual stream (the numbers that all layers share). ",
            "Random matrices give about ",
            number(first.baseline),
            " (one over the square root of its size).",
        ),
        Table(header, tuple(rows), caption, (1, 2, 3), summary="Composition scores of the matrices"),
    ]
    return blocks if first.warning is None else [*blocks, Caution(f"Mind: {first.warning}.")]
