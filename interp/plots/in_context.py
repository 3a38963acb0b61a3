"""What a model gains by reading on: its loss by position, and how that formed over training."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from interp.plots.drawing import (
    COLORS,
    FAINT,
    QUIET,
    check_count,
    check_not_empty,
    check_shape,
    legend,
    name_axes,
    new_figure,
    note,
    plain_axes,
    to_array,
)
from interp.stats import Estimates

LINES: tuple[dict[str, Any], ...] = (
    {"color": COLORS[2], "ls": "--"},
    {"color": COLORS[4], "ls": "--"},
    {"color": COLORS[3], "ls": "--"},
)


def loss_by_position(
    loss: Estimates,
    *,
    beside: Mapping[str, Estimates] | None = None,
    references: Mapping[str, Float[Tensor, " place"]] | None = None,
    predictable: Bool[Tensor, " place"] | None = None,
    marked: Mapping[str, int] | None = None,
    title: str,
    protocol: str = "",
) -> Figure:
    """The loss at each position with its interval, beside other tokens' and those of ideal readers.

    Args:
        loss: of the token at position i + 1, nats, [place].
        beside: other losses by position, such as on fresh tokens.
        references: exact losses of ideal readers, [place].
        predictable: which positions can be predicted from context; the others are shaded.
        marked: positions (from 0) to mark by a line, with their names.
        title: what the figure shows.
        protocol: how it was measured, at the foot.

    Raises:
        InputError: there is no position, or something beside the loss has another number of them.
    """
    check_not_empty("loss", loss.mean)
    for name, other in (references or {}).items():
        check_shape(name, other, loss.mean)
    for name, estimates in (beside or {}).items():
        check_shape(name, estimates.mean, loss.mean)
    check_shape("predictable", predictable, loss.mean)
    figure = new_figure(7.2, 3.8, title, protocol)
    axes = figure.add_subplot()
    places = list(range(1, len(loss.mean) + 1))
    if predictable is not None:
        shade(axes, predictable.tolist())
    for (name, reference), style in zip((references or {}).items(), LINES, strict=False):
        axes.plot(places, to_array(reference), lw=1.3, label=name, **style)
    for name, estimates in (beside or {}).items():
        band(axes, places, estimates, QUIET, name, 1.1)
    band(axes, places, loss, COLORS[0], "model", 1.8)
    plain_axes(axes)
    axes.set_ylim(bottom=0)
    axes.margins(x=0.01)
    for name, position in (marked or {}).items():
        mark(axes, position, name, position > len(places) / 2)
    name_axes(axes, "position of the token that is predicted (from 0)", "loss (nats per token)")
    legend(axes, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def formation(
    steps: Sequence[int],
    score: Estimates,
    change: Estimates,
    coordinates: Float[Tensor, "step two"] | None = None,
    explained: Float[Tensor, " two"] | None = None,
    *,
    between: tuple[int, int],
    surely: bool,
    title: str,
    protocol: str = "",
) -> Figure:
    """The in-context score by step, what each position's loss changed by between two of them, and the way there.

    Args:
        steps: of the checkpoints, ascending.
        score: in-context score, nats, [step].
        change: of the loss by position between the two checkpoints, nats, [place].
        coordinates: principal components of the per-token losses, [step two].
        explained: the share of the variance that each has.
        between: the steps of the two checkpoints.
        surely: whether these are the ends of a phase change.
        title: what the figure shows.
        protocol: how it was measured, at the foot.

    Raises:
        InputError: not one score or point for each step.
    """
    check_count("scores", score.mean.tolist(), len(steps))
    figure = new_figure(9.6 if coordinates is not None else 7.2, 3.4, title, protocol)
    panels = figure.subplots(1, 3 if coordinates is not None else 2)
    band(panels[0], list(steps), score, COLORS[0], "", 1.6, marker="o", ms=3)
    panels[0].set_xscale("symlog", linthresh=1)
    panels[0].axhline(0, color=QUIET, lw=0.8)
    panels[0].axvspan(*between, color=COLORS[1], alpha=0.18, lw=0)
    word = "phase change" if surely else "compared"
    note(panels[0], word, (between[0], 0), (0, 4), color=COLORS[1], ha="center")
    name_axes(panels[0], "training step", "in-context score (nats)")
    band(panels[1], list(range(1, len(change.mean) + 1)), change, COLORS[0], "", 1.4)
    panels[1].axhline(0, color=QUIET, lw=0.8)
    name_axes(panels[1], f"position; step {between[0]:,} to {between[1]:,}", "change of the loss (nats)")
    if coordinates is not None and explained is not None:
        check_count("points", coordinates.tolist(), len(steps))
        path(panels[2], steps, coordinates, explained.tolist(), between)
    for axes in panels:
        plain_axes(axes)
        axes.margins(y=0.12)
    return figure


def band(axes: Axes, places: list[int], loss: Estimates, color: str, name: str, width: float, **style: Any) -> None:
    """A curve with its interval."""
    axes.fill_between(places, to_array(loss.low), to_array(loss.high), color=color, alpha=0.25, lw=0)
    axes.plot(places, to_array(loss.mean), color=color, lw=width, label=name or None, **style)


def shade(axes: Axes, predictable: list[bool]) -> None:
    """Grey behind the positions that nothing in the context tells."""
    drawn = False
    for place, known in enumerate(predictable, start=1):
        if not known:
            axes.axvspan(
                place - 0.5, place + 0.5, color=FAINT, alpha=0.5, lw=0, label=None if drawn else "unpredictable"
            )
            drawn = True


def mark(axes: Axes, position: int, name: str, late: bool) -> None:
    """A line across at a position, with its name at the top."""
    axes.axvline(position, color=COLORS[1], lw=1, ls=":")
    where: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "va": "top", "ha": "right" if late else "left"}
    note(axes, name, (position, 1.0), (-3 if late else 3, -2), color=COLORS[1], **where)


def path(
    axes: Axes,
    steps: Sequence[int],
    coordinates: Float[Tensor, "step two"],
    explained: list[float],
    between: tuple[int, int],
) -> None:
    """Checkpoints in the plane of two components, joined in order; the two that are compared stand out."""
    points = to_array(coordinates)
    axes.plot(points[:, 0], points[:, 1], "o-", color=COLORS[0], lw=1.2, ms=3)
    shown = {0, len(steps) - 1, *(steps.index(step) for step in between)}
    for index in sorted(shown):
        compared = steps[index] in between
        axes.plot(*points[index], "o", color=COLORS[1] if compared else COLORS[0], ms=5)
        side: dict[str, Any] = {"va": "bottom"} if compared else {"va": "top"}
        note(axes, f"{steps[index]:,}", tuple(points[index]), (0, 5 if compared else -5), ha="center", **side)
    axes.margins(x=0.15)
    name_axes(axes, f"component 1 ({explained[0]:.0%}), nats", f"component 2 ({explained[1]:.0%})")
