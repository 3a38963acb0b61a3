"""A score for every head: as a heat map, and by the period of the sequences it was measured on."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from interp.errors import InputError
from interp.plots.drawing import (
    COLORS,
    QUIET,
    Number,
    cell_text,
    check_count,
    check_not_empty,
    check_shape,
    color_bar,
    color_scale,
    heat_map,
    legend,
    name_axes,
    new_figure,
    outline,
    plain_axes,
    set_ticks,
    to_array,
)

DIM = "#bbbbbb"


def score_heatmap(
    scores: Float[Tensor, "layer head"],
    null: Float[Tensor, "layer head"] | None = None,
    *,
    title: str,
    label: str,
    protocol: str = "",
    limits: tuple[Number, Number] | None = None,
    marked: Sequence[tuple[int, int]] = (),
) -> Figure:
    """A score of every head, layer down and head across, with its null beneath it in each cell.

    Args:
        scores: [layer head]; nan is drawn grey, as `n/a`.
        null: the same score where there is nothing to find.
        title: what the figure shows.
        label: the score and its unit, at the colour bar.
        protocol: how it was measured, at the foot.
        limits: of the colour scale; by default from 0 to the largest, symmetric where a score is negative.
        marked: heads as (layer, head) that get a frame.

    Raises:
        InputError: there is no head, or a marked head does not exist.
    """
    check_not_empty("score", scores)
    check_shape("the null", null, scores)
    values = to_array(scores)
    layers, heads = values.shape
    if any(not (0 <= layer < layers and 0 <= head < heads) for layer, head in marked):
        raise InputError(f"marked heads {list(marked)} must lie within {layers} layers x {heads} heads")
    cell = (0.5 if heads > 16 else 0.72) + (0.22 if null is not None else 0)
    height = 0.62 if null is not None else 0.5
    figure = new_figure(max(4.4, heads * cell + 1.9), layers * height + 1.35, title, protocol)
    axes = figure.add_subplot()
    image = heat_map(axes, values, *color_scale(values, limits))
    for layer, head in np.ndindex(values.shape):
        text = _number(float(values[layer, head]))
        if null is not None:
            text += f"\n(null {_number(float(null[layer, head]))})"
        cell_text(axes, image, layer, head, text, 7.5 if null is not None or heads > 16 else 9)
    for layer, head in marked:
        outline(axes, layer, head)
    set_ticks(axes, "x", [str(head) for head in range(heads)])
    set_ticks(axes, "y", [str(layer) for layer in range(layers)])
    name_axes(axes, "head", "layer")
    color_bar(figure, image, axes, label)
    return figure


def score_by_period(
    periods: Sequence[int],
    scores: Float[Tensor, "head period"],
    names: Sequence[str],
    *,
    null: Float[Tensor, "head period"] | None = None,
    low: Float[Tensor, "head period"] | None = None,
    high: Float[Tensor, "head period"] | None = None,
    highlighted: Sequence[str] = (),
    title: str,
    label: str,
    protocol: str = "",
) -> Figure:
    """A score of every head against the period of the repeated sequence: a line a head, its null dashed.

    Args:
        periods: tokens until the sequence repeats.
        scores: [head period].
        names: one per head.
        null: the same score where nothing repeats.
        low: lower ends of the intervals, drawn as bands.
        high: upper ends of the intervals.
        highlighted: names of the heads in colour, at most seven; the others are grey. By default the highest four.
        title: what the figure shows.
        label: the score and its unit.
        protocol: how it was measured, at the foot.

    Raises:
        InputError: sizes differ, an unknown head is highlighted, or more than seven are.
    """
    check_not_empty("score", scores)
    check_count("head names", names, scores.shape[0])
    check_count("periods", periods, scores.shape[1])
    for what, other in (("the null", null), ("low", low), ("high", high)):
        check_shape(what, other, scores)
    if not set(highlighted) <= set(names) or len(highlighted) > len(COLORS):
        raise InputError(f"at most {len(COLORS)} heads out of {list(names)} can be highlighted, got {highlighted}")
    values = to_array(scores)
    chosen = list(highlighted) or [names[i] for i in np.argsort(-values.mean(1), kind="stable")[:4]]
    figure = new_figure(6.6, 3.9, title, protocol)
    axes = figure.add_subplot()
    others = [index for index, name in enumerate(names) if name not in chosen]
    for index in others:
        axes.plot(periods, values[index], "o-", color=DIM, ms=4, lw=0.9)
    for index, color in zip(map(names.index, chosen), COLORS, strict=False):
        axes.plot(periods, values[index], "o-", color=color, ms=4, lw=1.8, label=names[index])
        if low is not None and high is not None:
            axes.fill_between(periods, to_array(low)[index], to_array(high)[index], color=color, alpha=0.18, lw=0)
        if null is not None:
            axes.plot(periods, to_array(null)[index], "--", color=color, lw=1)
    if others:
        axes.plot([], [], "o-", color=DIM, ms=4, label="other heads")
    if null is not None:
        axes.plot([], [], "--", color=QUIET, lw=1, label="null")
    plain_axes(axes)
    axes.set_xticks(list(periods))
    axes.set_ylim(bottom=min(0.0, float(axes.get_ylim()[0])))
    name_axes(axes, "period (tokens)", label)
    legend(axes, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _number(value: float) -> str:
    if not np.isfinite(value):
        return "n/a"
    text = f"{value:.2f}" if abs(value) < 100 else f"{value:.3g}"
    return text.replace("-0.00", "0.00").replace("-", "−")
