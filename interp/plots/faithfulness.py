"""How much of a model circuits of each size carry."""

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from interp.edges.curve import Curve
from interp.errors import InputError
from interp.plots.drawing import COLORS, QUIET, legend, name_axes, new_figure, note, plain_axes, to_array

LOWEST = -1.0
"""Faithfulness below this is not drawn: a set of edges can be arbitrarily worse than none."""


def faithfulness_curves(
    curves: Mapping[str, Curve],
    *,
    circuit: tuple[int, float] | None = None,
    pruned: int | None = None,
    title: str,
    protocol: str = "",
) -> Figure:
    """f of the best n edges by n, a line with its interval for each ranking.

    Args:
        curves: by the name of the ranking; those called "random" are drawn pale, with one entry in the legend.
        circuit: how many best edges were chosen and the f of their circuit, marked by a dot.
        pruned: edges of that circuit, if some of the chosen ones lay on no path and were left out.
        title: what the figure shows.
        protocol: how it was measured, at the foot.

    Raises:
        InputError: there is no curve.
    """
    if not curves:
        raise InputError("there is no curve to draw")
    low = min(float(curve.faithfulness.mean.min()) for curve in curves.values())
    cut = f" Lines below {LOWEST:g} are cut off." if low < LOWEST else ""
    figure = new_figure(7.4, 3.8, title, f"{protocol}{cut}")
    axes = figure.add_subplot()
    for level in (0.0, 1.0):
        axes.axhline(level, color="#bbbbbb", lw=0.8)
    colors = iter(COLORS)
    named = False
    for name, curve in curves.items():
        chance = name.startswith("random")
        color = QUIET if chance else next(colors)
        x, f = to_array(curve.sizes), curve.faithfulness
        label = name if not chance else None if named else "random rankings"
        axes.plot(x, to_array(f.mean), color=color, lw=0.8 if chance else 1.8, alpha=0.5 if chance else 1, label=label)
        named |= chance
        if not chance:
            axes.fill_between(x, to_array(f.low), to_array(f.high), color=color, alpha=0.2, lw=0)
    if circuit is not None:
        axes.scatter(*circuit, s=28, color=COLORS[1], zorder=5)
        left = f"{circuit[0]} edges" if pruned in (None, circuit[0]) else f"{pruned} of {circuit[0]} edges on paths"
        note(axes, f"{left}: {circuit[1]:.2f}", circuit, (6, -12))
    axes.set_ylim(max(low, LOWEST) - 0.05, 1.15)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    plain_axes(axes)
    name_axes(axes, "edges kept, best first", "faithfulness (share of what all edges carry)")
    legend(axes, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
