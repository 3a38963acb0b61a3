"""The largest entries of a low-rank matrix, found tile by tile."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.errors import InputError
from interp.factored import Factored

TILE = 2**22
"""Most numbers of a dense tile that are held at once."""


@dataclass(frozen=True)
class Entries:
    """Entries of a matrix and where they stand, largest first."""

    value: Float[Tensor, " k"]
    row: Int[Tensor, " k"]
    column: Int[Tensor, " k"]


def top_entries(table: Factored, k: int, magnitude: bool = False, tile: int = TILE) -> Entries:
    """The k largest entries (by absolute value with `magnitude`, their signs kept), never the whole dense matrix.

    At most about `tile` numbers of it are held at once. Raises `InputError` for a batch of matrices or k below 1.
    """
    if table.batch or k < 1:
        raise InputError(f"top entries need one matrix and k >= 1, got shape {list(table.shape)} and k={k}")
    n = table.shape[-1]
    value = table.A.new_empty(0)
    place = torch.empty(0, dtype=torch.long, device=value.device)
    for rows in tile_rows(table.shape[0], n, tile, table.A.device):
        dense = table.rows(rows).flatten()
        value, place = (
            torch.cat([value, dense]),
            torch.cat([place, int(rows[0]) * n + torch.arange(len(dense)).to(rows)]),
        )
        kept = (value.abs() if magnitude else value).topk(min(k, len(value))).indices
        value, place = value[kept], place[kept]
    return Entries(value, place // n, place % n)


def tile_rows(
    n_rows: int, width: int, tile: int = TILE, device: torch.device | str | None = None
) -> Iterator[Int[Tensor, " row"]]:
    """Consecutive row numbers, as many at a time as fit `tile` numbers at `width` numbers a row."""
    step = max(1, tile // max(1, width))
    for start in range(0, n_rows, step):
        yield torch.arange(start, min(start + step, n_rows), device=device)
