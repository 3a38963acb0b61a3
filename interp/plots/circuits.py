"""Circuits in token space: what a head's QK or OV matrix does to every pair of tokens, and its eigenvalues."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import torch
from jaxtyping import Complex, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from interp.circuits.entries import strengths
from interp.circuits.factored import Factored
from interp.errors import InputError
from interp.plots.drawing import (
    FAINT,
    QUIET,
    TEXT,
    Array,
    Number,
    check_count,
    check_not_empty,
    color_bar,
    color_scale,
    drawable,
    heat_map,
    name_axes,
    new_figure,
    outline,
    plain_axes,
    set_ticks,
    to_array,
)


def circuit_matrix(
    matrix: Float[Tensor, "row column"] | Factored,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    title: str,
    row_name: str,
    column_name: str,
    label: str,
    protocol: str = "",
    largest: int = 64,
) -> Figure:
    """A circuit in token space, signed; its diagonal is framed where rows and columns are the same tokens.

    Below it stands the mean of the diagonal, and mean and standard deviation of the rest, of the whole matrix.
    Where there are more than `largest` rows or columns, those with the entries of largest magnitude are drawn, in
    their own order (the same ones on both axes where the tokens are the same). A factored matrix is never multiplied
    out: it may have tens of thousands of rows.

    Args:
        matrix: [row column], such as the full OV circuit [source token, output token].
        rows: token text of the rows.
        columns: token text of the columns.
        title: what the figure shows.
        row_name: what a row is, such as `destination token (query)`.
        column_name: what a column is.
        label: the entries and their unit.
        protocol: how it was computed, at the foot.
        largest: most rows and columns that are drawn.

    Raises:
        InputError: there is nothing to draw, or not one label per row and column.
    """
    if 0 in matrix.shape:
        check_not_empty("entry", matrix.dense() if isinstance(matrix, Factored) else matrix)
    check_count("row labels", rows, matrix.shape[0])
    check_count("column labels", columns, matrix.shape[1])
    same = list(rows) == list(columns)
    whole = _of_factors(matrix, same) if isinstance(matrix, Factored) else _of_dense(to_array(matrix), same)
    row_index, column_index = _strongest(whole, largest, same)
    shown = _part(matrix, row_index, column_index)
    foot = " ".join(filter(None, [protocol, whole.diagonal, _left_out(matrix.shape, shown)]))
    cell = 0.125 if max(shown.shape) > 24 else 0.26
    figure = new_figure(max(4.6, shown.shape[1] * cell + 2.4), max(3.4, shown.shape[0] * cell + 1.9), title, foot)
    axes = figure.add_subplot()
    image = heat_map(axes, shown, *color_scale(whole.by_row, signed=True))
    if same:
        for index in range(len(row_index)):
            outline(axes, index, index, QUIET, 0.4)
    size = 6.0 if cell < 0.2 else 8.0
    texts = [drawable(columns[index], 8) for index in column_index]
    set_ticks(axes, "x", texts, size, upright=1 if cell < 0.2 else 2)
    set_ticks(axes, "y", [drawable(rows[index], 8) for index in row_index], size)
    name_axes(axes, column_name, row_name)
    color_bar(figure, image, axes, label)
    return figure


@dataclass(frozen=True)
class _Whole:
    """What a drawing needs to know of the whole matrix: largest magnitudes, and a sentence on its diagonal."""

    by_row: Array
    by_column: Array
    diagonal: str


def _of_dense(values: Array, same: bool) -> _Whole:
    text = ""
    if same:
        off = values[~np.eye(len(values), dtype=bool)]
        text = _diagonal(values.diagonal().mean(), *((off.mean(), off.std()) if off.size else ()))
    return _Whole(np.abs(values).max(1), np.abs(values).max(0), text)


def _of_factors(table: Factored, same: bool) -> _Whole:
    by_row, by_column = (to_array(each) for each in strengths(table))
    if not same:
        return _Whole(by_row, by_column, "")
    exact, n = table.to(torch.float64), table.shape[-1]
    own = exact.diagonal()
    if n == 1:
        return _Whole(by_row, by_column, _diagonal(float(own.mean())))
    total = float(exact.A.sum(0) @ exact.B.sum(1) - own.sum())
    squares = float(exact.norm().square() - own.square().sum())
    mean = total / (n * n - n)
    spread = max(0.0, squares / (n * n - n) - mean**2) ** 0.5
    return _Whole(by_row, by_column, _diagonal(float(own.mean()), mean, spread))


def _part(matrix: Float[Tensor, "row column"] | Factored, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Array:
    if isinstance(matrix, Factored):
        return to_array(matrix.A[torch.from_numpy(rows)] @ matrix.B[:, torch.from_numpy(columns)])
    return to_array(matrix)[np.ix_(rows, columns)]


def _strongest(whole: _Whole, largest: int, same: bool) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    by_row, by_column = whole.by_row, whole.by_column
    if same:
        by_row = by_column = np.maximum(by_row, by_column)
    row_index, column_index = (
        np.sort(np.argsort(-strength, kind="stable")[:largest]) for strength in (by_row, by_column)
    )
    return row_index, column_index


def _diagonal(mean: float, rest: float | None = None, spread: float | None = None) -> str:
    text = f"Mean of the diagonal {mean:.3g}"
    if rest is not None:
        text += f"; of the rest {rest:.3g} (standard deviation {spread:.2g})"
    return (text + ".").replace("-", "−")


def _left_out(shape: Sequence[int], shown: Array) -> str:
    if tuple(shape) == shown.shape:
        return ""
    kept = f"{shown.shape[0]} of {shape[0]:,} rows and {shown.shape[1]} of {shape[1]:,} columns"
    return f"Drawn: {kept}, those with the entries of largest magnitude."


def eigenvalue_spectra(
    spectra: Sequence[Complex[Tensor, " _eigenvalue"]],
    names: Sequence[str],
    scores: Sequence[Number],
    *,
    nulls: Sequence[str] | None = None,
    title: str,
    protocol: str = "",
    columns: int = 4,
) -> Figure:
    """Eigenvalues of each head's OV circuit in the complex plane, with the copying score above.

    Copying score: sum of the real parts over sum of the magnitudes; +1 is a head that only copies, -1 one that
    only suppresses. Each panel has its own scale, equal in both directions, symmetric around 0.

    Args:
        spectra: the eigenvalues of each head.
        names: one per head.
        scores: the copying score of each head.
        nulls: what to say of each head's null, such as `null 0.02 ± 0.11`.
        title: what the figure shows.
        protocol: how it was computed, at the foot.
        columns: panels in a row; the heads of a layer, for one row a layer.

    Raises:
        InputError: there is no head, or not one name, score and null per head.
    """
    if not spectra:
        raise InputError("there is no spectrum to draw")
    check_count("head names", names, len(spectra))
    check_count("scores", scores, len(spectra))
    check_count("nulls", nulls if nulls is not None else names, len(spectra))
    for spectrum in spectra:
        check_not_empty("eigenvalue", spectrum)
    columns = min(columns, len(spectra))
    rows = ceil(len(spectra) / columns)
    figure = new_figure(max(3.6, columns * 2.3 + 0.6), rows * 2.65 + 0.8, title, protocol)
    for index, spectrum in enumerate(spectra):
        axes = figure.add_subplot(rows, columns, index + 1)
        _plane(axes, spectrum.detach().cpu().numpy())
        name_axes(axes, "real" if index + columns >= len(spectra) else "", "imaginary" if index % columns == 0 else "")
        heading = f"{names[index]}: copying {scores[index]:+.2f}".replace("-", "−")
        heading += f"\n{nulls[index]}" if nulls is not None else ""
        axes.set_title(heading, fontsize=9, **TEXT)
    return figure


def _plane(axes: Axes, eigenvalues: NDArray[np.complexfloating]) -> None:
    limit = 1.15 * float(np.abs(eigenvalues).max()) or 1.0
    colors, norm = color_scale(eigenvalues.real.astype(np.float64), signed=True)
    axes.axhline(0, color=FAINT, lw=1, zorder=0)
    axes.axvline(0, color=FAINT, lw=1, zorder=0)
    axes.scatter(
        eigenvalues.real, eigenvalues.imag, c=eigenvalues.real, cmap=colors, norm=norm, s=26, edgecolors=QUIET, lw=0.6
    )
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    plain_axes(axes)
    axes.locator_params(nbins=4)
