"""The largest entries of a low-rank matrix, found tile by tile."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.circuits.factored import Factored
from interp.errors import InputError

TILE = 2**20
"""Most numbers of a dense tile that are held at once."""
GROUP = 64
"""Columns that are dismissed together when a row's maximum over them is too small."""
Tiles = Sequence[Int[Tensor, " row"]]
Progress = Callable[[Tiles], Iterable[Int[Tensor, " row"]]]
"""Wraps the tiles as they are worked on, as tqdm does."""


@dataclass(frozen=True)
class Entries:
    """Entries of a matrix and where they stand, largest first."""

    value: Float[Tensor, " k"]
    row: Int[Tensor, " k"]
    column: Int[Tensor, " k"]


@dataclass(frozen=True)
class RowEntries:
    """The largest entries of each row and where they stand, largest first."""

    value: Float[Tensor, "row k"]
    column: Int[Tensor, "row k"]


def top_entries(
    table: Factored, k: int, magnitude: bool = False, tile: int = TILE, progress: Progress | None = None
) -> Entries:
    """The k largest entries (by absolute value with `magnitude`, their signs kept), never the whole dense matrix.

    Equal ones stand in reading order. At most about `tile` numbers of the matrix are held at once. The k-th largest
    so far is a threshold: rows whose maximum does not pass it, by far the most, cost one comparison beside the product
    itself. `progress` wraps the tiles.
    Raises `InputError` for a batch of matrices, k below 1, or entries that are not finite.
    """
    check(table, k)
    n = table.shape[-1]
    best, place = table.A.new_empty(0), torch.empty(0, dtype=torch.long, device=table.A.device)
    threshold = -torch.inf
    for rows, dense in dense_tiles(table, tile, progress):
        strength = largest_of_rows(dense, magnitude)
        hit = (strength > threshold).nonzero().flatten()
        if len(hit) > k:  # k entries lie in at most k rows, those of largest maxima
            hit = hit[strength[hit].argsort(descending=True, stable=True)[:k]]
        if not len(hit):
            continue
        new = rank_by(dense[hit], magnitude).flatten().topk(min(k, len(hit) * n)).indices
        value = torch.cat([best, dense[hit].flatten()[new]])
        where = torch.cat([place, rows[hit[new // n]] * n + new % n])
        kept = rank_by(value, magnitude).topk(min(k, len(value)))
        best, place = value[kept.indices], where[kept.indices]
        threshold = float(kept.values[-1]) if len(best) == k else -torch.inf
    place, order = place.sort()
    best = best[order]
    order = rank_by(best, magnitude).argsort(descending=True, stable=True)
    return Entries(best[order], place[order] // n, place[order] % n)


def top_per_row(
    table: Factored, k: int, magnitude: bool = False, tile: int = TILE, progress: Progress | None = None
) -> RowEntries:
    """The k largest entries of every row (all of them where a row is shorter), as `top_entries` else.

    2 k numbers a row are kept: `value` and `column`, `[row, min(k, columns)]`.
    """
    check(table, k)
    found = [largest_in_rows(dense, k, magnitude) for _, dense in dense_tiles(table, tile, progress)]
    return RowEntries(torch.cat([each.value for each in found]), torch.cat([each.column for each in found]))


def strengths(
    table: Factored, tile: int = TILE, progress: Progress | None = None
) -> tuple[Float[Tensor, " row"], Float[Tensor, " column"]]:
    """The largest absolute value of each row and of each column, tile by tile."""
    check(table, 1)
    by_row, by_column = [], table.A.new_zeros(table.shape[-1])
    for _, dense in dense_tiles(table, tile, progress):
        by_row.append(largest_of_rows(dense, magnitude=True))
        by_column = torch.maximum(by_column, torch.maximum(dense.amax(0), -dense.amin(0)))
    return torch.cat(by_row), by_column


def largest_in_rows(dense: Float[Tensor, "row column"], k: int, magnitude: bool = False) -> RowEntries:
    """The k largest entries of each row of a dense tile.

    A long row is first cut into groups of `GROUP` columns (those equal modulo the number of groups, so that the
    maxima over groups are one pass in memory order): the k largest entries lie in the k groups of largest maxima.
    """
    n = dense.shape[-1]
    k, groups = min(k, n), n // GROUP
    if groups < 4 * k:
        column = rank_by(dense, magnitude).topk(k).indices
        return RowEntries(dense.gather(-1, column), column)
    strength = rank_by(dense[:, : groups * GROUP], magnitude).unflatten(-1, (GROUP, groups)).amax(1)
    members = strength.topk(k).indices[:, :, None] + groups * torch.arange(GROUP, device=dense.device)
    rest = torch.arange(groups * GROUP, n, device=dense.device).expand(len(dense), -1)
    columns = torch.cat([members.flatten(1), rest], dim=1)
    values = dense.gather(-1, columns)
    kept = rank_by(values, magnitude).topk(k).indices
    return RowEntries(values.gather(-1, kept), columns.gather(-1, kept))


def largest_of_rows(dense: Float[Tensor, "row column"], magnitude: bool = False) -> Float[Tensor, " row"]:
    """Each row's maximum, or its largest absolute value."""
    return torch.maximum(dense.amax(-1), -dense.amin(-1)) if magnitude else dense.amax(-1)


def rank_by(values: Float[Tensor, "*rest"], magnitude: bool) -> Float[Tensor, "*rest"]:
    """What entries are ranked by."""
    return values.abs() if magnitude else values


def check(table: Factored, k: int) -> None:
    """`InputError` unless it is one matrix of finite numbers, and k at least 1."""
    if table.batch or k < 1:
        raise InputError(f"top entries need one matrix and k >= 1, got shape {list(table.shape)} and k={k}")
    check_finite(table)


def check_finite(table: Factored) -> None:
    """`InputError` for factors with NaN or infinite numbers."""
    if not (table.A.isfinite().all() and table.B.isfinite().all()):
        raise InputError(f"a table of shape {list(table.shape)} has factors that are not finite; check the weights")


def dense_tiles(
    table: Factored, tile: int = TILE, progress: Progress | None = None, rows: Int[Tensor, " row"] | None = None
) -> Iterator[tuple[Int[Tensor, " row"], Float[Tensor, "row column"]]]:
    """Row numbers and the dense rows, tile by tile; each tile is overwritten by the next, without gradients.

    All rows in order, or those that are asked for.
    """
    m, n = table.shape
    parts = list(tile_rows(m if rows is None else len(rows), n, tile, table.A.device))
    buffer = table.A.new_empty((max(map(len, parts), default=0), n))
    for part in parts if progress is None else progress(parts):
        index = part if rows is None else rows[part]
        left = table.A[int(part[0]) : int(part[-1]) + 1] if rows is None else table.A[index]
        with torch.no_grad():
            yield index, torch.matmul(left, table.B, out=buffer[: len(part)])


def tile_rows(
    n_rows: int, width: int, tile: int = TILE, device: torch.device | str | None = None
) -> Iterator[Int[Tensor, " row"]]:
    """Consecutive row numbers, as many at a time as fit `tile` numbers at `width` numbers a row."""
    step = max(1, tile // max(1, width))
    for start in range(0, n_rows, step):
        yield torch.arange(start, min(start + step, n_rows), device=device)
