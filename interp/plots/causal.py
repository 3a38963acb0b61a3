"""What breaks without a head."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from interp.errors import InputError
from interp.plots.drawing import (
    COLORS,
    INK,
    QUIET,
    Number,
    check_count,
    legend,
    name_axes,
    new_figure,
    plain_axes,
    set_ticks,
)
from interp.stats import Estimate


def ablation_bars(
    names: Sequence[str],
    effects: Mapping[str, Sequence[Estimate]],
    *,
    null: tuple[Number, Number] | None = None,
    title: str,
    label: str = "increase in loss (nats per token)",
    protocol: str = "",
) -> Figure:
    """The effect of removing each head, a bar for each way of removing it, with intervals and a line at 0.

    Args:
        names: one per head.
        effects: by the way of removing (`zero`, `mean`, ...), the effect of each head.
        null: the band in which the effects of removing nothing in particular lie.
        title: what the figure shows.
        label: the effect and its unit.
        protocol: how it was measured, at the foot.

    Raises:
        InputError: there is no effect, more than seven ways, or not one effect for each name.
    """
    if not effects or not names or len(effects) > len(COLORS):
        raise InputError(f"needed: at least one head and 1 to {len(COLORS)} ways of removing it, got {list(effects)}")
    for way, values in effects.items():
        check_count(f"effects of {way} ablation", values, len(names))
    figure = new_figure(max(5.4, 0.5 * len(names) + 2.4), 3.6, title, protocol)
    axes = figure.add_subplot()
    if null is not None:
        axes.axhspan(*null, color="#999999", alpha=0.25, lw=0, label="null")
    axes.axhline(0, color=INK, lw=0.9)
    width = 0.76 / len(effects)
    for index, (way, values) in enumerate(effects.items()):
        x = np.arange(len(names)) + (index - (len(effects) - 1) / 2) * width
        mean, low, high = (np.array([getattr(value, end) for value in values]) for end in ("mean", "low", "high"))
        axes.bar(x, mean, width * 0.92, color=COLORS[index], alpha=0.85, label=f"{way} ablation")
        axes.vlines(x, low, high, color=INK, lw=1.1)
        axes.scatter(np.concatenate([x, x]), np.concatenate([low, high]), marker="_", s=18, color=INK, lw=1.1)
    plain_axes(axes)
    axes.spines["bottom"].set_visible(False)
    axes.yaxis.grid(True, color="#eeeeee", lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(axis="x", length=0, color=QUIET)
    set_ticks(axes, "x", names, upright=1000 if len(names) <= 16 else 0)
    name_axes(axes, "", label)
    legend(axes, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
