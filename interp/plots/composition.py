"""How strongly heads can read from earlier heads, by their weights: as a graph, and as matrices."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch
from torch import Tensor

from interp.errors import InputError
from interp.plots.drawing import (
    COLORS,
    INK,
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
    note,
    set_ticks,
    to_array,
)

Scores = Mapping[str, Float[Tensor, "early_layer early_head late_layer late_head"]]

WEIGHTS_ONLY = "Weights only: what the matrices allow, not what happens on tokens."
KIND_COLORS = {"Q": COLORS[0], "K": COLORS[1], "V": COLORS[2]}
_BENDS = {"Q": 0.13, "K": 0.0, "V": -0.13}


@dataclass(frozen=True)
class _Edge:
    kind: str
    early: tuple[int, int]
    late: tuple[int, int]
    value: float
    above: float


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
    figure = new_figure(max(5.2, 1.25 * heads + 2.2), 1.45 * (layers - 1) + 2.2, title, foot)
    axes = figure.add_subplot()
    axes.set_aspect("equal")
    for rank, edge in reversed(list(enumerate(drawn))):
        _arrow(axes, edge, edge.above / drawn[0].above, numbered=rank < 3)
    for layer, head in np.ndindex(layers, heads):
        _node(axes, layer, head, (notes or {}).get((layer, head), ""))
    axes.set(xlim=(-0.75, 1.25 * (heads - 1) + 0.6), ylim=(-1.45 * (layers - 1) - 0.6, 0.5))
    axes.axis("off")
    kinds = [Line2D([], [], color=KIND_COLORS[kind], lw=3, label=f"{kind}-composition") for kind in scores]
    axes.legend(
        handles=kinds,
        frameon=False,
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        prop={"family": TEXT["fontfamily"], "size": 8},
    )
    return figure


def composition_matrices(
    scores: Scores,
    baselines: Scores | Number,
    *,
    title: str,
    protocol: str = "",
) -> Figure:
    """The same as matrices, one for each kind: earlier head down, later head across, coloured by score − baseline.

    Each cell holds the score itself. Arguments and errors as for `composition_graph`.
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
    color_bar(figure, image, grid, "score − baseline")
    return figure


def _edges(scores: Scores, baselines: Scores | Number) -> tuple[list[_Edge], int, int]:
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
                edges.append(_Edge(kind, index[:2], index[2:], value, value - float(base[index])))
    return edges, layers, heads


def _place(head: tuple[int, int]) -> tuple[float, float]:
    return 1.25 * head[1], -1.45 * head[0]


def _node(axes: Axes, layer: int, head: int, text: str) -> None:
    x, y = _place((layer, head))
    axes.scatter([x], [y], s=760, color="white", edgecolors=INK, linewidths=1.1, zorder=20)
    axes.text(x, y, f"L{layer}H{head}", ha="center", va="center", fontsize=8, zorder=21, **TEXT)
    if text:
        up = layer == 0
        options: dict[str, Any] = {"ha": "center", "va": "bottom" if up else "top", "fontsize": 7.5, "zorder": 21}
        note(axes, text, (x, y), (0, 17 if up else -17), **options)


def _arrow(axes: Axes, edge: _Edge, share: float, numbered: bool) -> None:
    start, end = _place(edge.early), _place(edge.late)
    bend, color = _BENDS[edge.kind], KIND_COLORS[edge.kind]
    axes.add_patch(
        FancyArrowPatch(
            start,
            end,
            connectionstyle=f"arc3,rad={bend}",
            arrowstyle="-|>",
            mutation_scale=7 + 6 * share,
            linewidth=0.6 + 4.2 * share,
            color=color,
            alpha=0.35 + 0.6 * share,
            shrinkA=14,
            shrinkB=14,
            zorder=2 + share,
        )
    )
    if numbered:
        across, down = end[0] - start[0], end[1] - start[1]
        x = (start[0] + end[0]) / 2 + bend * down / 2
        y = (start[1] + end[1]) / 2 - bend * across / 2
        box = {"facecolor": "white", "edgecolor": color, "boxstyle": "round,pad=0.2", "linewidth": 0.7}
        axes.text(
            x, y, f"{edge.kind} {edge.value:.2f}", ha="center", va="center", fontsize=7, bbox=box, zorder=10, **TEXT
        )
