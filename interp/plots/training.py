"""How a model learned: its loss by step, beside what can be reached."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interp.errors import InputError
from interp.plots.drawing import COLORS, QUIET, Number, check_count, legend, name_axes, new_figure, note, plain_axes


def training_curve(
    steps: Sequence[int],
    loss: Sequence[Number],
    predictable_loss: Sequence[Number] | None = None,
    *,
    optimum: Number | None = None,
    order_free: tuple[Number, Number] | None = None,
    chance: Number | None = None,
    emerged: int | None = None,
    log_steps: bool = False,
    title: str = "Training",
    protocol: str = "",
) -> Figure:
    """Loss by step, over all positions and over the predictable ones, with the lines that give it a meaning.

    Args:
        steps: training steps, ascending.
        loss: mean loss over all positions, in nats per token.
        predictable_loss: mean loss over the positions that can be predicted from context.
        optimum: the least loss that any reader can reach on the predictable positions.
        order_free: lower and upper bound of the least loss of a reader that only counts the context's tokens.
        chance: the loss of guessing, ln V.
        emerged: the step at which the behaviour was there, if it was.
        log_steps: a logarithmic axis; step 0 is then left out.
        title: what the figure shows.
        protocol: how it was measured, at the foot.

    Raises:
        InputError: there is no step, lengths differ, or the steps do not ascend.
    """
    check_count("losses", loss, len(steps))
    if predictable_loss is not None:
        check_count("predictable losses", predictable_loss, len(steps))
    if not steps or any(later <= earlier for earlier, later in pairwise(steps)):
        raise InputError(f"steps must ascend and there must be one at least, got {list(steps)[:5]} ...")
    figure = new_figure(7.2, 4.0, title, protocol)
    axes = figure.add_subplot()
    if order_free is not None:
        axes.axhspan(*order_free, color=COLORS[4], alpha=0.25, lw=0, label="best by counting alone (bounds)")
    if chance is not None:
        axes.axhline(chance, color=QUIET, lw=1, ls=":", label=f"chance {chance:.2f}")
    if optimum is not None:
        axes.axhline(optimum, color=COLORS[2], lw=1.4, ls="--", label=f"optimum {optimum:.2f}")
    axes.plot(steps, loss, color="#999999", lw=1.2, label="loss, all positions")
    if predictable_loss is not None:
        axes.plot(steps, predictable_loss, color=COLORS[0], lw=1.8, label="loss, predictable positions")
    if log_steps:
        axes.set_xscale("log")
    plain_axes(axes)
    axes.set_ylim(bottom=0)
    axes.margins(x=0.02)
    if emerged is not None:
        _mark(axes, emerged)
    name_axes(axes, "training step", "loss (nats per token)")
    legend(axes, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _mark(axes: Axes, step: int) -> None:
    axes.axvline(step, color=COLORS[1], lw=1.4)
    late = axes.transAxes.inverted().transform(axes.transData.transform((step, 0)))[0] > 0.6
    side = "right" if late else "left"
    where: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "ha": side, "va": "top"}
    note(axes, f"emerged at step {step}", (step, 1.0), (-4 if late else 4, -2), color=COLORS[1], **where)
