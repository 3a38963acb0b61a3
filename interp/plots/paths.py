"""What paths add: a waterfall from no path to the whole model, and signed bars of the parts of a sum."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from interp.errors import InputError
from interp.plots.drawing import (
    COLORS,
    INK,
    QUIET,
    TEXT,
    Number,
    check_count,
    legend,
    name_axes,
    new_figure,
    note,
    plain_axes,
    set_ticks,
)
from interp.stats import Estimate

POSITIVE, NEGATIVE, WHOLE = COLORS[0], COLORS[1], "#999999"


def waterfall(
    start: Number,
    steps: Sequence[Estimate],
    names: Sequence[str],
    *,
    parts: Mapping[str, Estimate] | None = None,
    parts_label: str = "",
    title: str,
    label: str = "loss (nats per token)",
    protocol: str = "",
) -> Figure:
    """From a starting level down (or up) by one step after another, to what is left; beside it parts of the steps.

    Every bar of a step hangs where the one before it ended, with the step's interval at its end; the first and the
    last bar stand on 0. The parts, signed bars, have a scale of their own.

    Args:
        start: the level before any step.
        steps: changes, in order.
        names: of the starting level, of each step, and of the level that is left.
        parts: what to split the steps into, by name; drawn from the top in this order.
        parts_label: the parts' unit.
        title: what the figure shows.
        label: the level and its unit.
        protocol: how it was measured, at the foot.

    Raises:
        InputError: there is no step, or not one name each and two more.
    """
    if not steps:
        raise InputError("a waterfall needs at least one step")
    check_count("names", names, len(steps) + 2)
    width = 1.05 * len(names) + 1.2
    rows = len(parts or {})
    figure = new_figure(width + (4.2 if rows else 0), max(3.6, 0.27 * rows + 1.5), title, protocol)
    if parts:
        left, right = figure.subplots(1, 2, width_ratios=(width, 4.2))
        _bars(right, list(parts), {"": list(parts.values())})
        name_axes(right, parts_label)
    else:
        left = figure.add_subplot()
    _fall(left, start, steps)
    plain_axes(left)
    left.margins(y=0.12)
    left.axhline(0, color=INK, lw=0.9)
    left.tick_params(axis="x", length=0)
    set_ticks(left, "x", [name.replace(" ", "\n", 1) if len(name) > 9 else name for name in names])
    name_axes(left, "", label)
    return figure


def signed_bars(
    names: Sequence[str],
    parts: Mapping[str, Sequence[Estimate]],
    *,
    nulls: Mapping[str, Sequence[Number]] | None = None,
    null_name: str = "null",
    colors: Mapping[str, str] | None = None,
    rules: Sequence[int] = (),
    title: str,
    label: str,
    protocol: str = "",
) -> Figure:
    """Parts of sums as bars from 0 to either side, with intervals: a row for each name, a bar in it for each series.

    A single series is coloured by sign, several by series. An interval that is NaN is left out.

    Args:
        names: of the rows, from the top.
        parts: by series, a part for each row.
        nulls: by series, what each part is when there is nothing to find, drawn as a diamond.
        null_name: what the diamonds are.
        colors: of the series, where there are several.
        rules: rows above which a line stands.
        title: what the figure shows.
        label: the parts' unit.
        protocol: how they were measured, at the foot.

    Raises:
        InputError: there is nothing to draw, there are more than seven series, or sizes differ.
    """
    if not names or not parts or len(parts) > len(COLORS):
        raise InputError(f"needed: at least one row and 1 to {len(COLORS)} series, got {len(names)} and {list(parts)}")
    for series, values in parts.items():
        check_count(f"parts of {series}", values, len(names))
    for series, marks in (nulls or {}).items():
        check_count(f"nulls of {series}", marks, len(names))
    rows = len(names) * max(1.0, 0.62 * len(parts))
    figure = new_figure(7.2, 0.29 * rows + 1.5, title, protocol)
    axes = figure.add_subplot()
    shades = dict(zip(parts, COLORS, strict=False)) | dict(colors or {})
    _bars(axes, names, parts, nulls, shades)
    for row in rules:
        axes.axhline(row - 0.5, color=QUIET, lw=0.8)
    handles: list[Patch | Line2D] = []
    if len(parts) > 1:
        handles += [Patch(color=shades[series], alpha=0.85, label=series) for series in parts]
    if nulls:
        handles.append(Line2D([], [], marker="D", ls="", mfc="white", mec=INK, ms=4, label=null_name))
    if handles:
        legend(axes, handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5))
    name_axes(axes, label)
    return figure


def _fall(axes: Axes, start: Number, steps: Sequence[Estimate]) -> None:
    level = float(start)
    axes.bar(0, level, 0.62, color=WHOLE)
    note(axes, f"{level:.2f}", (0, level), (0, 3), ha="center")
    for place, step in enumerate(steps, 1):
        after = level + step.mean
        axes.plot([place - 0.69, place + 0.31], [level, level], color=QUIET, lw=0.8)
        axes.bar(place, step.mean, 0.62, bottom=level, color=_color(step.mean), alpha=0.85)
        axes.vlines(place, level + step.low, level + step.high, color=INK, lw=1.3)
        note(axes, _signed(step.mean), (place, max(level, after)), (0, 3), ha="center")
        level = after
    last = len(steps) + 1
    axes.plot([last - 0.69, last + 0.31], [level, level], color=QUIET, lw=0.8)
    axes.bar(last, level, 0.62, color=WHOLE)
    note(axes, f"{level:.2f}", (last, level), (0, 3), ha="center")


def _bars(
    axes: Axes,
    names: Sequence[str],
    parts: Mapping[str, Sequence[Estimate]],
    nulls: Mapping[str, Sequence[Number]] | None = None,
    shades: Mapping[str, str] | None = None,
) -> None:
    height = 0.78 / len(parts)
    axes.axvline(0, color=INK, lw=0.9)
    for index, (series, values) in enumerate(parts.items()):
        y = np.arange(len(names)) + (index - (len(parts) - 1) / 2) * height
        mean, low, high = (np.array([getattr(value, end) for value in values]) for end in ("mean", "low", "high"))
        color = shades[series] if shades and len(parts) > 1 else [_color(value) for value in mean]
        axes.barh(y, mean, height * 0.9, color=color, alpha=0.85)
        known = np.isfinite(low)
        axes.hlines(y[known], low[known], high[known], color=INK, lw=1.1)
        if nulls and series in nulls:
            axes.plot(nulls[series], y, "D", mfc="white", mec=INK, ms=4, zorder=5)
        marks = nulls.get(series, mean) if nulls else mean
        for place, value, *others in zip(y, mean, low, high, marks, strict=True):
            end = np.nanmax([0.0, value, *others])
            note(axes, _signed(value), (end, place), (4, 0), va="center", fontsize=7.5)
    plain_axes(axes)
    axes.spines["left"].set_visible(False)
    axes.xaxis.grid(True, color="#eeeeee", lw=0.8)
    axes.set_axisbelow(True)
    axes.margins(x=0.14)
    axes.set_ylim(len(names) - 0.4, -0.6)
    set_ticks(axes, "y", names)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", length=3)
    for text in axes.get_yticklabels():
        text.set(**TEXT)


def _color(value: Number) -> str:
    return POSITIVE if value >= 0 else NEGATIVE


def _signed(value: Number) -> str:
    """+0.12, −0.0041: two digits or two decimals; 0 below 5e-6."""
    if abs(value) < 5e-6:
        return "0"
    return (f"{value:+.2f}" if abs(value) >= 0.095 else f"{value:+#.2g}").replace("-", "−")
