"""Experiments with arms and seeds: curves, points, and paired effects beside the margin that they are held against."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from interp.errors import InputError
from interp.plots.drawing import COLORS, FAINT, QUIET, Number, legend, name_axes, new_figure, plain_axes, sentence

Curve = tuple[Sequence[Number], Sequence[Number]]
"""x and y of one seed."""
STYLES = ("-", "--", ":")
SURE = "#0072B2"


@dataclass(frozen=True)
class Effect:
    """A paired comparison: one effect a seed, the interval of their mean, and the margin.

    `claimed` "greater": the mean should be at least the margin; "equivalent": the interval should lie within +-margin.
    """

    label: str
    values: tuple[float, ...]
    mean: float | None
    interval: tuple[float, float] | None
    margin: float
    claimed: str


@dataclass(frozen=True)
class Errors:
    """Errors of an identity, one a seed, those of the wrong way beside them, and the tolerance."""

    label: str
    values: tuple[float, ...]
    wrong: tuple[float, ...]
    tolerance: float


def curves_by_arm(
    arms: Mapping[str, Sequence[Curve]],
    *,
    x_label: str,
    y_label: str,
    log_x: bool = False,
    log_y: bool = False,
    title: str = "",
    protocol: str = "",
) -> Figure:
    """A thin line for each seed and a thick one for their mean, where the seeds share their x; one colour an arm.

    Raises:
        InputError: there is no arm, an arm has no seed, or x and y of a seed differ in length.
    """
    check_arms(arms)
    figure = new_figure(7.2, 3.8, title, protocol)
    axes = figure.add_subplot()
    for index, (name, seeds) in enumerate(arms.items()):
        if any(len(x) != len(y) for x, y in seeds):
            raise InputError(f"x and y of every seed of {name} must have the same length")
        color, style = look(index)
        shared = all(list(x) == list(seeds[0][0]) for x, _ in seeds) and len(seeds) > 1
        for x, y in seeds:
            alpha = 0.35 if shared else 0.9
            mark = "o" if len(x) == 1 else ""
            label = None if shared else sentence(name)
            axes.plot(x, y, style, marker=mark, ms=4, color=color, lw=0.9, alpha=alpha, label=label)
        if shared:
            mean = np.mean([list(y) for _, y in seeds], axis=0)
            mark = "o" if len(mean) == 1 else ""
            axes.plot(seeds[0][0], mean, style, marker=mark, ms=6, color=color, lw=2.2, label=sentence(name))
    finish(axes, log_x, log_y)
    name_axes(axes, sentence(x_label), sentence(y_label))
    once(axes)
    return figure


def points_by_arm(
    arms: Mapping[str, Sequence[Number]],
    *,
    y_label: str,
    log_y: bool = False,
    title: str = "",
    protocol: str = "",
) -> Figure:
    """A point for each seed above its arm's name, grey lines between the arms of one seed, and the mean as a bar.

    Raises:
        InputError: there is no arm, or an arm has no seed.
    """
    check_arms(arms)
    figure = new_figure(max(3.6, min(9.0, 1.6 + 1.1 * len(arms))), 3.6, title, protocol)
    axes = figure.add_subplot()
    names = list(arms)
    for seed in range(max(map(len, arms.values()))):
        there = [(index, arms[name][seed]) for index, name in enumerate(names) if seed < len(arms[name])]
        axes.plot([x for x, _ in there], [y for _, y in there], color=FAINT, lw=1, zorder=1)
    for index, name in enumerate(names):
        color, _ = look(index)
        axes.scatter([index] * len(arms[name]), list(arms[name]), color=color, s=26, zorder=3)
        axes.hlines(float(np.mean(list(arms[name]))), index - 0.22, index + 0.22, color=color, lw=2.4, zorder=2)
    finish(axes, False, log_y)
    axes.set_xticks(range(len(names)), [wrapped(name) for name in names], fontsize=8)
    axes.set_xlim(-0.6, len(names) - 0.4)
    name_axes(axes, "", sentence(y_label))
    return figure


def paired_effects(rows: Sequence[Effect | Errors], *, title: str = "", protocol: str = "") -> Figure:
    """One strip a comparison: dots for seeds, a line for the interval with its mean, blue where it should lie.

    Errors stand on a logarithmic axis, those of the wrong way as crosses; zero is drawn at the left end.

    Raises:
        InputError: there is no row.
    """
    if not rows:
        raise InputError("there is no comparison to draw")
    figure = new_figure(7.6, 0.75 + 0.82 * len(rows), title, protocol)
    for axes, row in zip(figure.subplots(len(rows), 1, squeeze=False)[:, 0], rows, strict=True):
        if isinstance(row, Effect):
            draw_effect(axes, row)
        else:
            draw_errors(axes, row)
        axes.set_yticks([0], [wrapped(row.label, 26)], fontsize=8)
        axes.set_ylim(-1, 1)
        plain_axes(axes)
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
    return figure


def draw_effect(axes: Axes, row: Effect) -> None:
    """Effects around 0, with the region where the claim holds."""
    finite = [value for value in row.values if math.isfinite(value)]
    ends = [0.0, row.margin, *([-row.margin] if row.claimed == "equivalent" else []), *finite, *(row.interval or ())]
    pad = 0.08 * (max(ends) - min(ends) or 1.0)
    low, high = min(ends) - pad, max(ends) + pad
    region = (-row.margin, row.margin) if row.claimed == "equivalent" else (row.margin, high)
    axes.axvspan(*region, color=SURE, alpha=0.12, lw=0)
    axes.axvline(0, color=QUIET, lw=0.9)
    if row.interval is not None and row.mean is not None:
        axes.plot(row.interval, (0, 0), color="#222222", lw=1.8, solid_capstyle="butt", zorder=2)
        axes.plot([row.mean], [0], "D", color="#222222", ms=5, zorder=4)
    axes.plot(finite, [0.45] * len(finite), "o", color=COLORS[1], ms=4.5, alpha=0.9, zorder=3)
    if len(finite) < len(row.values):
        axes.text(high, 0.55, f"{len(row.values) - len(finite)} not finite", ha="right", fontsize=8, color=QUIET)
    axes.set_xlim(low, high)


def draw_errors(axes: Axes, row: Errors) -> None:
    """Errors by size on a logarithmic axis, with the region that is tolerated."""
    positive = [v for v in (*row.values, *row.wrong, row.tolerance) if math.isfinite(v) and v > 0] or [1.0]
    low, high = min(positive) / 30, max(positive) * 30
    axes.set_xscale("log")
    axes.axvspan(low, max(row.tolerance, 2 * low), color=SURE, alpha=0.12, lw=0)
    for values, height, mark, color in ((row.values, 0.35, "o", COLORS[1]), (row.wrong, -0.35, "X", "#222222")):
        shown = [min(max(v, low * 1.5), high / 1.5) for v in values if not math.isnan(v)]
        axes.plot(shown, [height] * len(shown), mark, color=color, ms=5)
    axes.set_xlim(low, high)


def look(index: int) -> tuple[str, str]:
    """A colour and a style of line, different for the first 21."""
    return COLORS[index % len(COLORS)], STYLES[index // len(COLORS) % len(STYLES)]


def finish(axes: Axes, log_x: bool, log_y: bool) -> None:
    """Scales and frame; the logarithmic axis of values that are not all positive is linear around 0."""
    if log_x:
        axes.set_xscale("log")
    elif axes.lines and all(float(x).is_integer() for line in axes.lines for x in np.asarray(line.get_xdata(), float)):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if log_y:
        positive = all(bool((np.asarray(line.get_ydata(), dtype=float) > 0).all()) for line in axes.lines)
        axes.set_yscale("log" if positive else "symlog")
    plain_axes(axes)


def once(axes: Axes) -> None:
    """A legend beside the axes that names each arm once."""
    handles, labels = axes.get_legend_handles_labels()
    kept = dict(zip(labels, handles, strict=True))
    legend(axes, handles=list(kept.values()), labels=list(kept), loc="center left", bbox_to_anchor=(1.0, 0.5))


def wrapped(name: str, width: int = 14) -> str:
    """A name in lines of about so many characters, three at most."""
    lines = [""]
    for word in sentence(name, 80).split():
        if lines[-1] and len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] += f"{' ' if lines[-1] else ''}{word}"
    return "\n".join(lines[:3]) + ("…" if len(lines) > 3 else "")


def check_arms(arms: Mapping[str, Sequence[object]]) -> None:
    """`InputError` unless there are arms with seeds."""
    empty = [name for name, seeds in arms.items() if not seeds]
    if not arms or empty:
        raise InputError(
            f"every arm needs at least one seed to draw, got {'none for ' + empty[0] if empty else 'none'}"
        )
