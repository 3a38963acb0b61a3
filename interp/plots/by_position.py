"""Scores at each query position, a panel for each layer and score."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interp.errors import InputError
from interp.heads.by_position import ScoresByPosition
from interp.plots.drawing import COLORS, QUIET, TEXT, legend, name_axes, new_figure, plain_axes, to_array

DIM = "#bbbbbb"


def score_by_position(found: Mapping[str, ScoresByPosition], *, title: str, protocol: str = "") -> Figure:
    """Layers down, scores across; in each panel a line a head with its interval, and the null dashed.

    The seven heads of a layer that reach highest are in colour, the others grey.

    Raises:
        InputError: there is no score.
    """
    if not found:
        raise InputError("there is no score by position to draw")
    n_layers = next(iter(found.values())).score.shape[1]
    figure = new_figure(1.2 + 3.6 * len(found), 0.9 + 1.9 * n_layers, title, protocol)
    grid = figure.subplots(n_layers, len(found), sharex=True, sharey=True, squeeze=False)
    for column, scores in enumerate(found.values()):
        for layer in range(n_layers):
            axes = grid[layer, column]
            _panel(axes, layer, scores)
            plain_axes(axes)
            axes.set_ylim(-0.03, 1.03)
            bottom = layer == n_layers - 1
            name_axes(axes, "query position" if bottom else "", "share of attention" if column == 0 else "")
            if layer == 0:
                axes.set_title(scores.name.replace("_", " "), fontsize=10, loc="left", **TEXT)
            if column == len(found) - 1:
                legend(axes, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _panel(axes: Axes, layer: int, scores: ScoresByPosition) -> None:
    x = np.array(scores.positions)
    mean, low, high = (to_array(t[:, layer]) for t in (scores.score, scores.interval.low, scores.interval.high))
    order = np.argsort(-mean.max(0), kind="stable")
    chosen = sorted(order[: len(COLORS)].tolist())
    for head in order[len(COLORS) :]:
        axes.plot(x, mean[:, head], color=DIM, lw=0.8)
    for head, color in zip(chosen, COLORS, strict=False):
        axes.plot(x, mean[:, head], color=color, lw=1.5, label=f"L{layer}H{head}")
        axes.fill_between(x, low[:, head], high[:, head], color=color, alpha=0.18, lw=0)
    axes.plot(x, to_array(scores.null), "--", color=QUIET, lw=1, label="null (even)")
