"""Attention patterns of several heads, side by side."""

from collections.abc import Sequence
from math import ceil

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from interp.plots.drawing import (
    TEXT,
    Number,
    check_count,
    check_not_empty,
    color_bar,
    color_scale,
    drawable,
    heat_map,
    name_axes,
    new_figure,
    set_ticks,
    to_array,
)

MOST_TOKEN_LABELS = 40


def attention_grid(
    pattern: Float[Tensor, "head dest src"],
    names: Sequence[str],
    tokens: Sequence[str] | None = None,
    *,
    title: str,
    label: str = "attention",
    protocol: str = "",
    columns: int = 4,
    maximum: Number | None = None,
) -> Figure:
    """The pattern of each head, destination down and source across, all on one colour scale.

    Where no destination looks ahead, the entries above the diagonal are grey: a causal head cannot look there.
    Tokens label the axes where there are at most 40 of them, else positions do.

    Args:
        pattern: [head dest src].
        names: one per head.
        tokens: the text of each position.
        title: what the figure shows.
        label: what the colour means.
        protocol: how it was measured, at the foot.
        columns: panels in a row; the heads of a layer, for one row a layer.
        maximum: the value drawn darkest, by default the largest there is.

    Raises:
        InputError: there is no head, or there is not one name per head and one token per position.
    """
    check_not_empty("pattern", pattern)
    check_count("head names", names, pattern.shape[0])
    values = to_array(pattern)
    heads, dest, src = values.shape
    if tokens is not None:
        check_count("tokens", tokens, src)
    columns = min(columns, heads)
    rows = ceil(heads / columns)
    labelled = tokens is not None and dest == src <= MOST_TOKEN_LABELS
    panel = max(2.1, 0.115 * src) if labelled else 2.1
    figure = new_figure(columns * (panel + 0.15) + 1.3, rows * (panel + 0.3) + 1.0, title, protocol)
    grid = figure.subplots(rows, columns, squeeze=False)
    colors, norm = color_scale(values, None if maximum is None else (0.0, maximum))
    ahead = np.triu(np.ones((dest, src), dtype=bool), 1)
    causal = dest == src and not values[:, ahead].any()
    for index, axes in enumerate(grid.flat):
        if index >= heads:
            axes.set_visible(False)
            continue
        shown = np.where(ahead, np.nan, values[index]) if causal else values[index]
        image = heat_map(axes, shown, colors.with_extremes(bad="#eeeeee"), norm)
        axes.set_box_aspect(dest / src)
        axes.set_title(names[index], fontsize=10, **{**TEXT, "fontweight": "bold"})
        left, bottom = index % columns == 0, index + columns >= heads
        _label(axes, tokens if labelled else None, left, bottom, min(8.0, 72 * panel / src * 0.8))
    color_bar(figure, image, grid, label)
    return figure


def _label(axes: Axes, tokens: Sequence[str] | None, left: bool, bottom: bool, size: float) -> None:
    """Tokens, or positions where there are none, on the outer axes of the grid."""
    if tokens is None:
        axes.tick_params(labelbottom=bottom, labelleft=left)
    else:
        texts = [drawable(token, 8) for token in tokens]
        set_ticks(axes, "x", texts if bottom else [], size, upright=1 if len(tokens) > 20 else 2)
        set_ticks(axes, "y", texts if left else [], size)
    name_axes(axes, "source" if bottom else "", "destination" if left else "")
