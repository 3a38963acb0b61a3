"""Heads as nodes, layer down and head across, and labelled arrows from earlier to later ones."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch

from interp.plots.drawing import COLORS, INK, QUIET, TEXT, new_figure, note

KIND_COLORS = {"Q": COLORS[0], "K": COLORS[1], "V": COLORS[2]}
BENDS = {"Q": 0.13, "K": 0.0, "V": -0.13}
RISE = 1.75
"""From one layer of a graph to the next, in the units in which heads are 1.25 apart."""
DASHES = (0, (3.5, 1.6))


@dataclass(frozen=True)
class Edge:
    """A later head that may read an earlier one; `above` is what its arrow's width shows."""

    kind: str
    early: tuple[int, int]
    late: tuple[int, int]
    value: float
    above: float


@dataclass(frozen=True)
class Arrow:
    """How an edge is drawn: the text beside it (or none), and whether it is only known from weights."""

    edge: Edge
    text: str
    dashed: bool = False


def head_graph(
    arrows: list[Arrow],
    kinds: list[str],
    size: tuple[int, int],
    title: str,
    foot: str,
    notes: Mapping[tuple[int, int], str],
) -> Figure:
    """Nodes and arrows, the widest on top, with their labels kept apart."""
    layers, heads = size
    figure = new_figure(max(5.2, 1.25 * heads + 2.2), RISE * (layers - 1) + 2.2, title, foot)
    axes = figure.add_subplot()
    axes.set_aspect("equal")
    widest = max((arrow.edge.above for arrow in arrows), default=1.0)
    taken: list[tuple[float, float]] = []
    for arrow in arrows:
        _label(axes, arrow, taken)
    for arrow in reversed(arrows):
        _draw(axes, arrow, arrow.edge.above / widest)
    for layer, head in np.ndindex(layers, heads):
        _node(axes, layer, head, notes.get((layer, head), ""))
    axes.set(xlim=(-0.75, 1.25 * (heads - 1) + 0.6), ylim=(-RISE * (layers - 1) - 0.6, 0.5))
    axes.axis("off")
    handles = [Line2D([], [], color=KIND_COLORS[kind], lw=3, label=f"{kind}-composition") for kind in kinds]
    if any(arrow.dashed for arrow in arrows):
        label = "weights only (not measured\non tokens, or not found there)"
        handles.append(Line2D([], [], color=QUIET, lw=1.5, ls=DASHES, label=label))
    axes.legend(
        handles=handles,
        frameon=False,
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        prop={"family": TEXT["fontfamily"], "size": 8},
    )
    return figure


def _place(head: tuple[int, int]) -> tuple[float, float]:
    return 1.25 * head[1], -RISE * head[0]


def _node(axes: Axes, layer: int, head: int, text: str) -> None:
    x, y = _place((layer, head))
    axes.scatter([x], [y], s=760, color="white", edgecolors=INK, linewidths=1.1, zorder=20)
    axes.text(x, y, f"L{layer}H{head}", ha="center", va="center", fontsize=8, zorder=21, **TEXT)
    if text:
        up = layer == 0
        options: dict[str, Any] = {"ha": "center", "va": "bottom" if up else "top", "fontsize": 7.5, "zorder": 21}
        note(axes, text, (x, y), (0, 17 if up else -17), **options)


def _draw(axes: Axes, arrow: Arrow, share: float) -> None:
    edge = arrow.edge
    axes.add_patch(
        FancyArrowPatch(
            _place(edge.early),
            _place(edge.late),
            connectionstyle=f"arc3,rad={BENDS[edge.kind]}",
            arrowstyle="-|>",
            mutation_scale=7 + 6 * share,
            linewidth=0.6 + 4.2 * share,
            linestyle=DASHES if arrow.dashed else "solid",
            color=KIND_COLORS[edge.kind],
            alpha=0.35 + 0.6 * share,
            shrinkA=14,
            shrinkB=14,
            zorder=2 + share,
        )
    )


def _label(axes: Axes, arrow: Arrow, taken: list[tuple[float, float]]) -> None:
    """The arrow's text somewhere along it, as far as can be from those that stand already."""
    if not arrow.text:
        return
    edge = arrow.edge
    start, end, bend = _place(edge.early), _place(edge.late), BENDS[edge.kind]
    across, down = end[0] - start[0], end[1] - start[1]
    wide = 0.075 * len(arrow.text)
    places = []
    for t in (0.5, 0.42, 0.58, 0.34, 0.66, 0.27, 0.73):
        aside = 2 * bend * t * (1 - t)  # of a quadratic curve whose middle is bent by half of `bend`
        x, y = start[0] + t * across + aside * down, start[1] + t * down - aside * across
        room = min((max(abs(x - p) / wide, abs(y - q) / 0.24) for p, q in taken), default=9.0)
        places.append((min(room, 1.0), (x, y)))
    x, y = max(places, key=lambda place: place[0])[1]
    taken.append((x, y))
    box = {
        "facecolor": "white",
        "edgecolor": KIND_COLORS[edge.kind],
        "boxstyle": "round,pad=0.2",
        "linewidth": 0.7,
        "linestyle": DASHES if arrow.dashed else "solid",
    }
    axes.text(x, y, arrow.text, ha="center", va="center", fontsize=7, bbox=box, zorder=10, **TEXT)
