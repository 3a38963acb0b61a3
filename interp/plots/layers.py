"""A net from input to output, a line for each layer or hook point: measurements beside a baseline, side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from torch import Tensor

from interp.errors import InputError
from interp.plots.drawing import (
    COLORS,
    Number,
    check_count,
    legend,
    name_axes,
    new_figure,
    plain_axes,
    set_ticks,
    to_array,
)
from interp.stats import Estimates

SHAPES = ("o", "D", "s", "^")


@dataclass(frozen=True, eq=False)
class Panel:
    """One measurement: for each series (trained, untrained ...) a value for each line, with intervals or without."""

    label: str
    """What is measured, with its unit."""
    series: Mapping[str, Estimates | Float[Tensor, " line"]]
    log: bool = False
    """Whether values lie on a logarithmic axis; those that are not above 0 are left out."""
    limits: tuple[Number, Number] | None = None
    """Ends of the axis; by default those of the values."""


def layer_panels(names: Sequence[str], panels: Sequence[Panel], *, title: str, protocol: str = "") -> Figure:
    """Panels side by side, a line a layer, the first at the top; a mark for each series, its interval a bar.

    Args:
        names: of the lines, in the order of the net.
        panels: what is measured; the same series have the same colour in all of them.
        title: what the figure shows.
        protocol: how it was measured, at the foot.

    Raises:
        InputError: there is no line or panel, more than four series, or not one value for each name.
    """
    kinds = list(dict.fromkeys(kind for panel in panels for kind in panel.series))
    if not names or not panels or not 1 <= len(kinds) <= len(SHAPES):
        raise InputError(f"needed: a line, a panel and 1 to {len(SHAPES)} series, got {len(names)} lines, {kinds}")
    for panel in panels:
        for kind, values in panel.series.items():
            check_count(f"values of {kind}", list(mean_of(values)), len(names))
    width = 0.075 * max(map(len, names)) + max(2.1 * len(panels), 3.4) + 1.3
    figure = new_figure(width, 0.19 * len(names) + 1.5, title, protocol)
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, panel in zip(grid, panels, strict=True):
        for kind, values in panel.series.items():
            _marks(axes, values, kinds.index(kind), kind, panel.log)
        if panel.limits is not None:
            axes.set_xlim(*panel.limits)
        plain_axes(axes)
        axes.yaxis.grid(True, color="#eeeeee", lw=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
        if panel.log:
            _whole_decades(axes)
        name_axes(axes, panel.label)
    set_ticks(grid[0], "y", names, 8 if len(names) <= 40 else 7)
    grid[0].set_ylim(len(names) - 0.5, -0.5)
    legend(grid[-1], loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def _whole_decades(axes: Axes) -> None:
    """A logarithmic axis from one power of ten to another, with no others named: theirs would run into each other."""
    axes.set_xscale("log")
    low, high = np.log10(axes.get_xlim())
    axes.set_xlim(10 ** np.floor(low), 10 ** np.ceil(high))
    axes.xaxis.set_minor_formatter(NullFormatter())


def mean_of(values: Estimates | Tensor) -> Tensor:
    return values.mean if isinstance(values, Estimates) else values


def _marks(axes: Axes, values: Estimates | Tensor, index: int, kind: str, log: bool) -> None:
    mean, color = to_array(mean_of(values)), COLORS[index]
    shown = np.isfinite(mean) & ((mean > 0) | (not log))
    lines = np.arange(len(mean))[shown]
    if isinstance(values, Estimates):
        low, high = to_array(values.low)[shown], to_array(values.high)[shown]
        axes.hlines(lines, low, high, color=color, lw=1.6, zorder=9 - index)
    size, order, face = 20 + 14 * index, 9 - index, color if index == 0 else "white"
    marker, width = SHAPES[index], 1.2
    axes.scatter(mean[shown], lines, size, face, marker=marker, edgecolors=color, lw=width, zorder=order, label=kind)
