"""What the model would predict at each depth: the logit lens, and the loss by depth."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

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
    drawable,
    heat_map,
    legend,
    name_axes,
    new_figure,
    note,
    outline,
    plain_axes,
    set_ticks,
    to_array,
)
from interp.stats import Estimates

MOST_CELLS_ACROSS = 40


def logit_lens(
    probability: Float[Tensor, "depth pos"],
    top: Sequence[Sequence[str]],
    depths: Sequence[str],
    tokens: Sequence[str],
    targets: Sequence[str] | None = None,
    *,
    title: str,
    label: str = "probability of the top token",
    protocol: str = "",
) -> Figure:
    """What each depth of the residual stream would predict at each position: top token and its probability.

    Depth runs down. A cell whose top token is the one that follows has a frame. Beyond 40 positions the cells
    hold no text.

    Args:
        probability: of the top token [depth pos], from 0 to 1.
        top: the top token's text, for each depth and position.
        depths: where in the stream, such as `embedding`, `after layer 0`.
        tokens: what is read at each position.
        targets: what follows at each position.
        title: what the figure shows.
        label: what the colour means.
        protocol: how it was computed, at the foot.

    Raises:
        InputError: there is nothing to draw, or sizes differ.
    """
    check_not_empty("prediction", probability)
    values = to_array(probability)
    check_count("depth names", depths, values.shape[0])
    check_count("tokens", tokens, values.shape[1])
    check_count("rows of top tokens", top, values.shape[0])
    for row in top:
        check_count("top tokens", row, values.shape[1])
    if targets is not None:
        check_count("targets", targets, values.shape[1])
    written = values.shape[1] <= MOST_CELLS_ACROSS
    width = values.shape[1] * (0.5 if written else 0.14) + 2.6
    figure = new_figure(max(5.0, width), 0.48 * values.shape[0] + 1.7, title, protocol)
    axes = figure.add_subplot()
    image = heat_map(axes, values, *color_scale(values, (0.0, 1.0), signed=False))
    for depth, pos in np.ndindex(values.shape):
        if written:
            text = f"{drawable(top[depth][pos], 7)}\n{values[depth, pos]:.2f}"
            cell_text(axes, image, depth, pos, text, 7)
        if targets is not None and top[depth][pos] == targets[pos]:
            outline(axes, depth, pos, COLORS[1], 1.3)
    read = [drawable(token, 7) for token in tokens]
    if targets is not None:
        read = [f"{token}\n→{drawable(target, 7)}" for token, target in zip(read, targets, strict=True)]
    set_ticks(axes, "x", read, 8 if written else 5)
    set_ticks(axes, "y", depths)
    framed = ", → next (framed where it is predicted)" if targets is not None else ""
    name_axes(axes, f"token read{framed}")
    color_bar(figure, image, axes, label)
    return figure


def loss_by_layer(
    loss: Float[Tensor, " depth"],
    depths: Sequence[str],
    *,
    low: Float[Tensor, " depth"] | None = None,
    high: Float[Tensor, " depth"] | None = None,
    references: Mapping[str, Number] | None = None,
    beside: Mapping[str, Estimates] | None = None,
    name: str = "logit lens",
    title: str,
    label: str = "loss (nats per token)",
    protocol: str = "",
) -> Figure:
    """The loss that each depth of the residual stream would have, with its interval and lines to compare with.

    Args:
        loss: [depth].
        depths: where in the stream.
        low: lower ends of the intervals.
        high: upper ends of the intervals.
        references: named lines across, such as the best possible loss and chance.
        beside: other losses by depth with their intervals, by the name that the legend gives them.
        name: of `loss` in the legend, which is drawn where there is something beside it.
        title: what the figure shows.
        label: the loss and its unit.
        protocol: how it was measured, at the foot.

    Raises:
        InputError: there is no depth, or not one name each; a loss beside it has another number of depths.
    """
    check_not_empty("loss", loss)
    check_count("depth names", depths, loss.shape[0])
    check_shape("low", low, loss)
    check_shape("high", high, loss)
    for other in (beside or {}).values():
        check_shape("a loss beside it", other.mean, loss)
    values = to_array(loss)
    figure = new_figure(max(5.2, 1.0 * len(depths) + 2.2), 3.6, title, protocol)
    axes = figure.add_subplot()
    for reference, value in (references or {}).items():
        axes.axhline(value, color=QUIET, lw=1, ls="--")
        edge: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "annotation_clip": False}
        note(axes, reference, (1.0, value), (4, 0), va="center", color=QUIET, **edge)
    positions = np.arange(len(depths))
    if low is not None and high is not None:
        axes.vlines(positions, to_array(low), to_array(high), color=COLORS[0], lw=4, alpha=0.35)
    axes.plot(positions, values, "o-", color=COLORS[0], lw=1.8, ms=5, label=name)
    for position, value in enumerate(values.tolist()):
        note(axes, f"{value:.2f}", (position, value), (0, 7), ha="center")
    if beside:
        draw_beside(axes, positions, beside)
    plain_axes(axes)
    axes.margins(x=0.08, y=0.15)
    axes.set_ylim(bottom=0)
    set_ticks(axes, "x", depths, 8, upright=1000 if len(depths) <= 8 else 4)
    name_axes(axes, "", label)
    return figure


def draw_beside(axes: Axes, positions: NDArray[np.int64], beside: Mapping[str, Estimates]) -> None:
    """More curves, each a little to the right of the last so that intervals stay apart, and the legend."""
    for index, (name, each) in enumerate(beside.items(), start=1):
        color, x = COLORS[index % len(COLORS)], positions + 0.06 * index
        axes.vlines(x, to_array(each.low), to_array(each.high), color=color, lw=4, alpha=0.35)
        axes.plot(x, to_array(each.mean), "o--", color=color, lw=1.4, ms=4, label=name)
    legend(axes, loc="lower left")
