"""How strongly heads can read from earlier heads, by their weights: as a graph, and as matrices."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from interp.errors import InputError
from interp.plots.drawing import (
    TEXT,
    Array,
    Number,
    cell_text,
    check_shape,
    color_bar,
    color_scale,
    heat_map,
    name_axes,
    new_figure,
    outline,
    set_ticks,
    to_array,
)
from interp.plots.head_graph import KIND_COLORS, Arrow, Edge, head_graph
from interp.stats import Estimate

Scores = Mapping[str, Float[Tensor, "early_layer early_head late_layer late_head"]]

WEIGHTS_ONLY = "Weights only: what the matrices allow, not what happens on tokens."
OnTokens = Mapping[tuple[str, tuple[int, int], tuple[int, int]], Estimate]
"""(kind, early head, late head) to what the edge does on tokens, with its interval."""
NUMBERED = 12
"""Arrows of an effect graph that have their number beside them."""


def composition_graph(
    scores: Scores,
    baselines: Scores | Number,
    *,
    title: str,
    protocol: str = "",
    most: int = 16,
    notes: Mapping[tuple[int, int], str] | None = None,
) -> Figure:
    """Heads as nodes, layer down and head across; an arrow to each head from the earlier heads it may read from.

    An arrow's colour is its kind of composition and its width the score above the baseline; the strongest `most`
    are drawn, and the three strongest have their score beside them. Marked as coming from weights only.

    Args:
        scores: by kind (`Q`, `K`, `V`), [early_layer early_head late_layer late_head]; entries whose early layer
            is not before the late one are ignored.
        baselines: what random matrices give, of the same shape, or one number for all.
        title: what the figure shows.
        protocol: how it was computed, at the foot.
        most: most arrows that are drawn.
        notes: by (layer, head), a word or two to write below a node, such as its role.

    Raises:
        InputError: an unknown kind, shapes that differ, or scores that are not layer x head twice.
    """
    edges, layers, heads = _edges(scores, baselines)
    drawn = sorted((edge for edge in edges if edge.above > 0), key=lambda edge: -edge.above)[:most]
    count = f"Arrows: the {len(drawn)} strongest of {len(edges)} pairs; width: score above the baseline."
    foot = " ".join([WEIGHTS_ONLY, count, protocol]).strip()
    arrows = [Arrow(edge, f"{edge.kind} {edge.value:.2f}" if rank < 3 else "") for rank, edge in enumerate(drawn)]
    return head_graph(arrows, list(scores), (layers, heads), title, foot, notes or {})


def effect_graph(
    shares: Scores,
    q_values: Scores,
    *,
    title: str,
    level: Number = 0.05,
    on_tokens: OnTokens | None = None,
    unit: str = "what the edge does on tokens",
    protocol: str = "",
    most: int = 24,
    notes: Mapping[tuple[int, int], str] | None = None,
) -> Figure:
    """Heads as nodes, and an arrow for each edge that is sure to differ from its null, as wide as its effect.

    An arrow is drawn where q <= level and the share is above 0; its number is the share. It is dashed, weights only,
    until tokens confirm it: where there is a number from tokens both stand on the arrow, and where that number's
    interval leaves out 0 the arrow is drawn through.

    Args:
        shares: effect by kind (`Q`, `K`, `V`), [early_layer early_head late_layer late_head]: 0 at the null, 1 at the
            largest score that the two spectra allow. Entries whose early layer is not before the late one are ignored.
        q_values: of the same shape; NaN where nothing was tested.
        title: what the figure shows.
        level: the largest q-value that is drawn.
        on_tokens: by (kind, early head, late head), what the same edge does on tokens.
        unit: what those numbers are, for the foot.
        protocol: how it was computed, at the foot.
        most: most arrows that are drawn, the widest first.
        notes: by (layer, head), a word or two to write below a node, such as its role.

    Raises:
        InputError: an unknown kind, shapes that differ, or shares that are not layer x head twice.
    """
    edges, layers, heads = _edges(shares, 0.0)
    sure = [edge for edge in edges if edge.above > 0 and _entry(q_values, edge) <= level]
    drawn = sorted(sure, key=lambda edge: -edge.above)[:most]
    arrows = []
    for rank, edge in enumerate(drawn):
        seen = (on_tokens or {}).get((edge.kind, edge.early, edge.late))
        text = f"{edge.kind} {edge.value:.2f}" if rank < NUMBERED or seen is not None else ""
        text = text if seen is None else f"{text} | {seen.mean:.2f}"
        arrows.append(Arrow(edge, text, dashed=seen is None or seen.low <= 0 <= seen.high))
    shown = "all" if len(drawn) == len(sure) else f"the {len(drawn)} strongest"
    foot = (
        f"{WEIGHTS_ONLY} Arrows: {shown} of {len(sure)} edges, out of {len(edges)}, that compose more than their null "
        f"at q ≤ {level:g}. Number and width: share of the way from the null (0) to the largest score that the "
        "spectra allow (1)."
    )
    if on_tokens:
        foot += f" After the bar: {unit}. Dashed: weights only, or an interval there that holds 0."
    return head_graph(arrows, list(shares), (layers, heads), title, f"{foot} {protocol}".strip(), notes or {})


def composition_matrices(
    scores: Scores,
    baselines: Scores | Number,
    *,
    title: str,
    protocol: str = "",
    q_values: Scores | None = None,
    level: Number = 0.05,
) -> Figure:
    """The same as matrices, one for each kind: earlier head down, later head across, coloured by score − baseline.

    Each cell holds the score itself, and has a frame where its q-value (if there are any) is at most `level`. Other
    arguments and errors as for `composition_graph`.
    """
    edges, layers, heads = _edges(scores, baselines)
    early = [(layer, head) for layer in range(layers - 1) for head in range(heads)]
    late = [(layer, head) for layer in range(1, layers) for head in range(heads)]
    above = {kind: np.full((len(early), len(late)), np.nan) for kind in scores}
    value = {kind: np.full((len(early), len(late)), np.nan) for kind in scores}
    for edge in edges:
        above[edge.kind][early.index(edge.early), late.index(edge.late)] = edge.above
        value[edge.kind][early.index(edge.early), late.index(edge.late)] = edge.value
    numbered = len(late) <= 12
    side = 0.5 if numbered else 0.16
    figure = new_figure(
        len(scores) * (len(late) * side + 0.5) + 1.3,
        max(2.4, len(early) * side * 0.8 + 1.5),
        title,
        f"{WEIGHTS_ONLY} {protocol}",
    )
    colors, norm = color_scale(np.concatenate([values.ravel() for values in above.values()]), signed=True)
    grid = figure.subplots(1, len(scores), squeeze=False)
    for index, (kind, axes) in enumerate(zip(scores, grid.flat, strict=True)):
        image = heat_map(axes, above[kind], colors, norm)
        axes.set_title(f"{kind}-composition", fontsize=10, **TEXT)
        set_ticks(axes, "x", [f"L{layer}H{head}" for layer, head in late], 8 if numbered else 5, upright=0)
        texts = [f"L{layer}H{head}" for layer, head in early] if index == 0 else [""] * len(early)
        set_ticks(axes, "y", texts, 8 if numbered else 5)
        name_axes(axes, "later head", "earlier head" if index == 0 else "")
        for row, column in np.argwhere(np.isfinite(value[kind]) & numbered).tolist():
            cell_text(axes, image, row, column, f"{value[kind][row, column]:.2f}", 7.5)
        for edge in edges if q_values is not None else ():
            if edge.kind == kind and _entry(q_values or {}, edge) <= level:
                outline(axes, early.index(edge.early), late.index(edge.late), width=1.4 if numbered else 0.6)
    color_bar(figure, image, grid, "score − baseline")
    return figure


def _edges(scores: Scores, baselines: Scores | Number) -> tuple[list[Edge], int, int]:
    if not scores or not set(scores) <= set(KIND_COLORS):
        raise InputError(
            f"composition needs scores of the kinds {', '.join(KIND_COLORS)}, got {list(scores) or 'none'}"
        )
    shapes = {tuple(values.shape) for values in scores.values()}
    layers, heads, late_layers, late_heads = shape = next(iter(shapes))
    if len(shapes) > 1 or (layers, heads) != (late_layers, late_heads) or layers < 2 or heads < 1:
        raise InputError(
            f"composition scores must be [layer head layer head] with at least 2 layers, got {sorted(shapes)}"
        )
    edges = []
    for kind, values in scores.items():
        array = to_array(values)
        if isinstance(baselines, float | int):
            base: Array = np.full(shape, float(baselines))
        elif kind in baselines:
            check_shape(f"the baseline of {kind}-composition", baselines[kind], values)
            base = to_array(baselines[kind])
        else:
            raise InputError(f"there is no baseline for {kind}-composition, only for {', '.join(baselines)}")
        for index in np.ndindex(shape):
            if index[0] < index[2]:
                value = float(array[index])
                edges.append(Edge(kind, index[:2], index[2:], value, value - float(base[index])))
    return edges, layers, heads


def _entry(values: Scores, edge: Edge) -> float:
    if edge.kind not in values:
        raise InputError(f"there are no q-values for {edge.kind}-composition, only for {', '.join(values)}")
    return float(values[edge.kind][(*edge.early, *edge.late)])
