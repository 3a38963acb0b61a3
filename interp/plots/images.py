"""Images in rows, as a net gets them: those made for a unit beside real ones."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from interp.errors import InputError
from interp.plots.drawing import FAINT, TEXT, Number, check_count, new_figure, sentence, to_array

CELL = 0.95
"""Inches from one image to the next."""


def image_rows(
    rows: Sequence[Sequence[Float[Tensor, "channel y x"] | None]],
    names: Sequence[str],
    columns: Sequence[str],
    captions: Sequence[Sequence[str]] = (),
    *,
    limits: tuple[Number, Number],
    title: str,
    protocol: str = "",
) -> Figure:
    """A row of images for each name, in grey (one channel) or colour (three), black at the lower limit.

    Args:
        rows: the images; None leaves a place empty.
        names: one per row.
        columns: a heading per column.
        captions: a short line below each image.
        limits: the range of the pixels.
        title: what the figure shows.
        protocol: how the images were made, at the foot.

    Raises:
        InputError: there is no row, numbers differ, limits that do not ascend, or another number of channels.
    """
    if not rows or not limits[0] < limits[1]:
        raise InputError(f"needed: a row of images and limits that ascend, got {len(rows)} rows and {limits}")
    check_count("names", names, len(rows))
    for row in rows:
        check_count("images in a row", row, len(columns))
    longest = max(map(len, names))
    drawn = [image.shape for row in rows for image in row if image is not None]
    height = CELL * max((min(1.0, max(0.25, shape[1] / shape[2])) for shape in drawn), default=1.0) + 0.16
    figure = new_figure(0.075 * longest + CELL * len(columns) + 0.6, height * len(rows) + 1.0, title, protocol)
    grid = figure.subplots(len(rows), len(columns), squeeze=False)
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            axes = grid[i][j]
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_color(FAINT)
            if image is None:
                axes.spines[:].set_visible(False)
            else:
                _draw(axes, image, limits)
            if captions and captions[i][j]:
                axes.set_xlabel(sentence(captions[i][j]), fontsize=7.5, labelpad=2, **TEXT)
            if i == 0:
                axes.set_title(sentence(columns[j]), fontsize=8.5, **TEXT)
        grid[i][0].set_ylabel(sentence(names[i]), fontsize=8, rotation=0, ha="right", va="center", labelpad=6, **TEXT)
    return figure


def _draw(axes: Axes, image: Tensor, limits: tuple[Number, Number]) -> None:
    pixels = (to_array(image) - limits[0]) / (limits[1] - limits[0])
    if len(pixels) not in (1, 3):
        raise InputError(f"an image to draw has 1 channel (grey) or 3 (colour), got {list(image.shape)}")
    shown = pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1).clip(0, 1)
    axes.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
