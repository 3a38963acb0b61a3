"""What the removal of some units does, among what other removals do: all together, and class by class."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from interp.errors import InputError
from interp.plots.drawing import (
    COLORS,
    INK,
    QUIET,
    check_count,
    legend,
    name_axes,
    new_figure,
    plain_axes,
    set_ticks,
    to_array,
)
from interp.stats import Estimate

BINS = 24


def among_controls(
    effect: Estimate,
    controls: Mapping[str, Float[Tensor, " draw"]],
    *,
    title: str,
    label: str,
    protocol: str = "",
) -> Figure:
    """How often the removal of other sets does how much, a panel for each kind of set; the named one as a line.

    Args:
        effect: of the named units, drawn as a line with its interval as a band.
        controls: by kind (random, matched ...), the effect of each other set.
        title: what the figure shows.
        label: the effect and its unit.
        protocol: how it was measured, at the foot.

    Raises:
        InputError: there is no kind of control, or one without a set.
    """
    if not controls or not all(len(values) for values in controls.values()):
        raise InputError(f"needed: sets to compare with, got { ({kind: len(v) for kind, v in controls.items()}) }")
    values = {kind: to_array(each) for kind, each in controls.items()}
    ends = np.concatenate([*values.values(), [effect.low, effect.high, 0.0]])
    edges = np.linspace(ends.min(), ends.max() + 1e-9 * (1 + abs(ends.max())), BINS + 1)
    figure = new_figure(6.4, 1.35 * len(controls) + 1.3, title, protocol)
    grid = figure.subplots(len(controls), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (kind, each) in zip(grid, values.items(), strict=True):
        axes.hist(each, bins=edges, color="#bbbbbb", label=f"{len(each)} {kind} sets")
        axes.axvline(0, color=QUIET, lw=0.8)
        axes.axvspan(effect.low, effect.high, color=COLORS[1], alpha=0.2, lw=0)
        axes.axvline(effect.mean, color=COLORS[1], lw=1.8, label="the named units")
        plain_axes(axes)
        axes.yaxis.get_major_locator().set_params(integer=True)
        name_axes(axes, "", "sets")
        legend(axes, loc="center left", bbox_to_anchor=(1.0, 0.5))
    name_axes(grid[-1], label, "sets")
    return figure


def class_effects(
    names: Sequence[str],
    effects: Sequence[Estimate],
    random: Sequence[tuple[float, float]] = (),
    *,
    title: str,
    label: str,
    protocol: str = "",
) -> Figure:
    """The effect on each class, with its interval, beside what random sets do to that class.

    Args:
        names: one per class.
        effects: of the named units.
        random: for each class the mean effect of random sets and its 95 % quantile, drawn as a grey bar between them.
        title: what the figure shows.
        label: the effect and its unit.
        protocol: how it was measured, at the foot.

    Raises:
        InputError: there is no class, or not one effect for each.
    """
    if not names:
        raise InputError("there is no class to draw")
    check_count("effects", effects, len(names))
    if random:
        check_count("effects of random sets", random, len(names))
    figure = new_figure(max(5.4, 0.42 * len(names) + 2.6), 3.5, title, protocol)
    axes = figure.add_subplot()
    x = np.arange(len(names))
    mean, low, high = (np.array([getattr(each, end) for each in effects]) for end in ("mean", "low", "high"))
    if random:
        middle, top = np.array(random).T
        axes.bar(x + 0.2, top - middle, 0.34, bottom=middle, color="#bbbbbb", label="random sets,\nmean to 95 %")
    axes.bar(x - 0.16, mean, 0.34, color=COLORS[1], alpha=0.85, label="the named units")
    axes.vlines(x - 0.16, low, high, color=INK, lw=1.1)
    axes.axhline(0, color=INK, lw=0.9)
    plain_axes(axes)
    axes.spines["bottom"].set_visible(False)
    axes.yaxis.grid(True, color="#eeeeee", lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(axis="x", length=0)
    set_ticks(axes, "x", names, upright=1000 if max(map(len, names)) <= 4 else 0)
    name_axes(axes, "class", label)
    legend(axes, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
