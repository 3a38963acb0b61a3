"""What every figure shares: size and title, colour scales, numbers in cells, token labels, PNG bytes."""

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from typing import Any, cast

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from matplotlib.ft2font import FT2Font
from matplotlib.image import AxesImage, imsave
from numpy.typing import NDArray
from torch import Tensor

from interp.errors import InputError
from interp.labels import visible

Array = NDArray[np.float64]
Number = float | int

FONT = "DejaVu Sans"  # comes with matplotlib: the same figure on every machine
INK, QUIET, FAINT = "#222222", "#666666", "#dddddd"
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe and Ito
LONGEST = 300  # characters of a title
TEXT: dict[str, Any] = {"fontfamily": FONT, "color": INK, "parse_math": False}


def new_figure(width: Number, height: Number, title: str, protocol: str = "") -> Figure:
    """An empty figure, in inches, with a title and, small at its foot, how the numbers were measured."""
    title, protocol = sentence(title, LONGEST), sentence(protocol)
    title = textwrap.fill(title, max(20, int(width * 10.5)))
    protocol = textwrap.fill(protocol, max(30, int(width * 15.5)))
    height += 0.2 * title.count("\n") + 0.16 * protocol.count("\n")
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, **TEXT)
    if protocol:
        figure.supxlabel(protocol, x=0.01, ha="left", fontsize=8, **{**TEXT, "color": QUIET})
    return figure


def png_bytes(figure: Figure, dpi: int = 144) -> bytes:
    """The figure as a PNG, without a date or a version: equal figures give equal bytes."""
    file, metadata = BytesIO(), cast(dict[str, str], {"Software": None})
    with canvas_of(figure, dpi) as canvas:
        canvas.draw()
        imsave(file, canvas.buffer_rgba(), format="png", origin="upper", dpi=dpi, metadata=metadata)
    return file.getvalue()


@contextmanager
def canvas_of(figure: Figure, dpi: int) -> Iterator[FigureCanvasAgg]:
    """What the figure is drawn on once, for its layout and its pixels: `savefig` measures every text a second time."""
    before = figure.canvas, figure.get_dpi()
    figure.set_dpi(dpi)
    try:
        yield FigureCanvasAgg(figure)
    finally:
        figure.set_canvas(before[0])
        figure.set_dpi(before[1])


def to_array(values: Tensor) -> Array:
    """A tensor as float64, detached and on the CPU."""
    return values.detach().to(device="cpu", dtype=torch.float64).numpy()


def color_scale(
    values: Array, limits: tuple[Number, Number] | None = None, signed: bool | None = None
) -> tuple[Colormap, Normalize]:
    """`RdBu` symmetric around 0 for signed values (any is negative, unless `signed` says), else `Blues` from 0.

    Values that are not finite are left out of the limits and drawn grey.
    """
    finite = values[np.isfinite(values)]
    if signed is None:
        signed = bool((finite < 0).any())
    low, high = limits or (0.0, float(np.abs(finite).max(initial=0.0)) or 1.0)
    if signed:
        high = max(abs(low), abs(high))
        low = -high
    if not low < high:
        raise InputError(f"the limits of a colour scale must ascend, got {low} to {high}")
    return matplotlib.colormaps["RdBu" if signed else "Blues"].with_extremes(bad=FAINT), Normalize(low, high)


def heat_map(axes: Axes, values: Array, colors: Colormap, norm: Normalize) -> AxesImage:
    """An image of a matrix, row 0 at the top, each entry a cell, without a frame."""
    image = axes.imshow(values, cmap=colors, norm=norm, aspect="auto", interpolation="nearest")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=8, labelcolor=INK)
    return image


def color_bar(figure: Figure, image: ScalarMappable, axes: Any, label: str) -> None:
    """A labelled colour bar beside the axes."""
    bar = figure.colorbar(image, ax=axes, shrink=0.9, aspect=25, pad=0.02)
    bar.set_label(textwrap.fill(label, max(16, int(figure.get_figheight() * 8.5))), fontsize=9, **TEXT)
    bar.ax.tick_params(labelsize=8, length=2, labelcolor=INK)
    bar.outline.set_visible(False)


def cell_text(axes: Axes, image: AxesImage, row: int, column: int, text: str, size: Number) -> None:
    """Text in the middle of a cell, white where the cell is dark."""
    value = np.asarray(image.get_array())[row, column]
    dark = False
    if np.isfinite(value):
        red, green, blue, _ = image.cmap(image.norm(value))
        dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.55
    axes.text(column, row, text, ha="center", va="center", fontsize=size, linespacing=1.15)
    axes.texts[-1].set(**{**TEXT, "color": "white" if dark else INK})


def outline(axes: Axes, row: int, column: int, color: str = INK, width: Number = 1.6) -> None:
    """A frame around a cell."""
    box = matplotlib.patches.Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=color, linewidth=width)
    box.set_clip_on(False)
    axes.add_patch(box)


def note(axes: Axes, text: str, at: tuple[Number, Number], offset: tuple[Number, Number], **options: Any) -> None:
    """Text beside a point, `offset` points (1/72 inch) away, on white so that lines do not cross it."""
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.85}
    axes.annotate(text, at, offset, textcoords="offset points", **{"fontsize": 8, "bbox": box, **TEXT, **options})


def set_ticks(axes: Axes, which: str, labels: Sequence[str], size: Number = 8, upright: int = 1000) -> None:
    """One tick per label on the `x` or `y` axis, at 0, 1, 2, ...; labels longer than `upright` are turned."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_ticks(range(len(labels)))
    for text in axis.set_ticklabels(list(labels), fontsize=size, **TEXT):
        text.set_rotation(90 if len(text.get_text()) > upright else 0)


def name_axes(axes: Axes, x: str = "", y: str = "") -> None:
    """What the axes mean."""
    axes.set_xlabel(x, fontsize=9, **TEXT)
    axes.set_ylabel(y, fontsize=9, **TEXT)


def plain_axes(axes: Axes) -> None:
    """Axes for lines and bars: no frame above and on the right, small ticks."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(QUIET)
    axes.tick_params(labelsize=8, length=3, color=QUIET, labelcolor=INK, labelfontfamily=FONT)


def legend(axes: Axes, **options: Any) -> None:
    """A frameless legend."""
    axes.legend(**{"frameon": False, "prop": {"family": FONT, "size": 8}, "labelcolor": INK, **options})


def sentence(text: str, limit: int | None = None) -> str:
    """Words as a figure can show them, each `drawable`: a model may be named after a folder of any name."""
    shown = " ".join(drawable(word) for word in text.split())
    return shown if limit is None or len(shown) <= limit else shown[: limit - 1] + "…"


def drawable(text: str, limit: int | None = None) -> str:
    r"""A token as a figure can show it: `visible`, and what the font has no shape for as `\u4e2d`."""
    shown = "".join(
        character if ord(character) in _shapes() else character.encode("ascii", "backslashreplace").decode()
        for character in visible(text)
    )
    return shown if limit is None or len(shown) <= limit else shown[: limit - 1] + "…"


@cache
def _shapes() -> frozenset[int]:
    return frozenset(FT2Font(findfont(FONT)).get_charmap())


def check_count(what: str, got: Sequence[Any], expected: int) -> None:
    """Raise `InputError` unless there are as many as expected."""
    if len(got) != expected:
        raise InputError(f"{expected} {what} are needed, got {len(got)}")


def check_shape(what: str, values: Tensor | None, like: Tensor) -> None:
    """Raise `InputError` unless there is nothing to check or it has the same shape as what it belongs to."""
    if values is not None and values.shape != like.shape:
        raise InputError(f"{what} must have the shape {list(like.shape)}, got {list(values.shape)}")


def check_not_empty(what: str, values: Tensor) -> None:
    """Raise `InputError` where there is nothing to draw."""
    if values.numel() == 0:
        raise InputError(f"there is no {what} to draw: its shape is {list(values.shape)}")
