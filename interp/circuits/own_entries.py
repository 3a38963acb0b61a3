"""How each row's own entry stands among the others of its row, in tables too large to be multiplied out.

`diagonal_scores` has the same question with every relabelling drawn; here ranks are counted tile by tile (or in a
sample of rows), and the mean of the diagonal stands beside the exact law of its relabellings.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from interp.circuits.diagonal import ratio
from interp.circuits.entries import Progress, check_finite, dense_tiles
from interp.circuits.factored import Factored
from interp.errors import InputError
from interp.stats import Estimate, clopper_pearson

TILE = 2**19
"""Numbers of a tile in which entries are counted."""


@dataclass(frozen=True)
class OwnRanks:
    """Ranks of the entries (i, i) in their rows: 1 for the only largest, and no better than a tie (2 for two)."""

    row: Int[Tensor, " row"]
    """The rows that were read."""
    rank: Int[Tensor, " row"]
    """How many entries of the row are at least as large as its own, itself among them."""
    n: int
    """Entries of a row."""

    def share(self, k: int = 1, level: float = 0.95) -> Estimate:
        """Share of rows whose own entry is among the k largest, ties counted against it.

        Exact if all rows were read (low = mean = high); otherwise with the Clopper-Pearson interval of a sample, which
        is too wide, if anything, for rows drawn without replacement.
        """
        hits, rows = int((self.rank <= k).sum()), len(self.row)
        if rows == self.n:
            return Estimate(hits / rows, hits / rows, hits / rows, rows, level, "all rows")
        return clopper_pearson(hits, rows, level)

    def chance(self, k: int = 1) -> float:
        """Share to expect if columns were relabelled at random: k / n (less where ties are)."""
        return min(k / self.n, 1.0)


@dataclass(frozen=True)
class OwnContrast:
    """The mean of the diagonal against the rows that its entries stand in, beside the law of its relabellings."""

    entry: float
    """Mean of (entry (i, i) minus the mean of row i), in the table's units; 0 for the mean relabelling."""
    entry_null: float
    """Standard deviation of `entry` over all relabellings of the columns."""
    deviations: float
    """Mean of the same divided by the standard deviation of row i; rows that are constant count as 0."""
    deviations_null: float
    """Standard deviation of `deviations` over all relabellings."""


def own_ranks(
    table: Factored,
    rows: int | None = None,
    generator: torch.Generator | None = None,
    tile: int = TILE,
    progress: Progress | None = None,
) -> OwnRanks:
    """`OwnRanks` of a square table, of all rows or of so many drawn without replacement.

    Row means do not matter. At most about `tile` numbers of the table are held at once; `progress` wraps the tiles.
    Raises `InputError` for a batch, a table that is not square or not finite, and for a sample without a generator.
    """
    n = check_one_square(table)
    if rows is not None and (rows < 1 or generator is None):
        raise InputError(f"a sample needs at least 1 row and a generator, got rows={rows}, generator={generator}")
    chosen = None
    if rows is not None and rows < n:
        assert generator is not None
        drawn = torch.randperm(n, generator=generator, device=generator.device)[:rows]
        chosen = drawn.sort().values.to(table.A.device)
    places, ranks = [], []
    for place, dense in dense_tiles(table, tile, progress, chosen):
        own = dense.gather(-1, place[:, None])
        places.append(place)
        ranks.append((dense >= own).sum(-1))
    return OwnRanks(torch.cat(places), torch.cat(ranks), n)


def own_contrast(table: Factored) -> OwnContrast:
    """`OwnContrast` of a square table, from its factors alone, in float64.

    With T the table minus its row means and C minus its column means too, the mean over i of T[i, P(i)] has mean 0
    over permutations P, and variance sum(C²) / (n² (n - 1)) (Hoeffding 1951, "A combinatorial central limit theorem").
    The second reading is the same of T with each row divided by its standard deviation, T_i / sqrt(mean_j T_ij²).
    Raises `InputError` for a batch, and for a table that is not square, not finite or smaller than 2.
    """
    n = check_one_square(table)
    if n < 2:
        raise InputError("a diagonal is compared with the rest of its row, of which a 1 x 1 table has none")
    A, B = table.A.double(), table.B.double()
    B = B - B.mean(-1, keepdim=True)
    spread = ((A @ (B @ B.mT / n)) * A).sum(-1).clamp_min(0).sqrt()
    noise = torch.finfo(table.A.dtype).eps * A.norm(dim=-1) * B.norm() / n**0.5
    steady = torch.where(spread > noise, spread, 0.0)
    found = []
    for each in (A, ratio(A, steady[:, None].expand_as(A))):
        mean = Factored(each, B).diagonal().mean()
        found += [float(mean), float(Factored(each - each.mean(0), B).norm() / (n * (n - 1) ** 0.5))]
    return OwnContrast(*found)


def check_one_square(table: Factored) -> int:
    """Its number of rows; `InputError` unless it is one square table of finite numbers."""
    if table.batch:
        raise InputError(f"this reads one table at a time, got a batch of shape {list(table.batch)}")
    table.check_square()
    check_finite(table)
    return table.shape[-1]
