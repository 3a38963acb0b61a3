"""How many directions a table of tokens has, and whether its entries are few: low-rank is one thing, sparse another.

A full QK circuit has n_tokens² entries but at most d_head directions (Elhage et al. 2021, "A Mathematical Framework
for Transformer Circuits"): it cannot be read entry by entry, for what it says is spread over all of them.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from interp.circuits.entries import Progress, check_finite, dense_tiles
from interp.circuits.factored import Factored
from interp.errors import InputError
from interp.stats import Estimate, student_t_interval

TILE = 2**19
"""Numbers of a tile whose rows are sorted."""


@dataclass(frozen=True)
class Ranks:
    """How many directions a table has, counted in four ways; all 0 for a table that is 0."""

    bound: int
    """The inner dimension: no rank can be larger. d_head for the circuits of a head."""
    numerical: int
    """Singular values above max(rows, columns) * epsilon * the largest, epsilon that of the factors' precision."""
    stable: float
    """sum(sigma²) / max(sigma²) (Rudelson and Vershynin 2007)."""
    entropy: float
    """exp(-sum(p ln p)), p = sigma / sum(sigma): the effective rank of Roy and Vetterli 2007."""
    participation: float
    """sum(sigma²)² / sum(sigma⁴): the number of equal singular values that would share the squared mass alike."""
    singular_values: Float[Tensor, " k"]


@dataclass(frozen=True)
class Concentration:
    """In how few entries of its row a table's squared mass lies, beside random tables with the same singular values."""

    share: float
    """The share of the squared mass that is asked for, such as 0.9."""
    entries: Estimate
    """Smallest share of a row's entries that holds it, mean over rows: near 0 for a sparse table."""
    random: Estimate
    """The same of tables with the same singular values in random directions, over draws of them."""


def ranks(table: Factored) -> Ranks:
    """`Ranks` of one table, from the small side: QR of both factors, singular values of an inner matrix, in float64.

    Raises `InputError` for a batch, or factors that are not finite.
    """
    check_one(table)
    sigma = table.to(torch.float64).singular_values()
    largest, squares = float(sigma[0]), sigma.square()
    if largest == 0:
        return Ranks(table.rank, 0, 0.0, 0.0, 0.0, sigma)
    tolerance = max(table.shape) * torch.finfo(table.A.dtype).eps * largest
    return Ranks(
        bound=min(table.rank, *table.shape),
        numerical=int((sigma > tolerance).sum()),
        stable=float(squares.sum() / squares[0]),
        entropy=float(torch.special.entr(sigma / sigma.sum()).sum().exp()),
        participation=float(squares.sum().square() / squares.square().sum()),
        singular_values=sigma,
    )


def concentration(
    table: Factored,
    generator: torch.Generator,
    share: float = 0.9,
    rows: int = 256,
    draws: int = 3,
    progress: Progress | None = None,
) -> Concentration:
    """In how few entries a table's rows hold `share` of their squared mass; read on `rows` of them, or on all.

    The random twins are Q_1 diag(sigma) Q_2^T, Q_1 and Q_2 orthonormal at random (of Gaussian matrices), sigma the
    table's singular values: as low in rank, and dense. About 0.445 for the Gaussian entries that such tables tend to
    at share = 0.9, 1 / columns for a table with one entry a row. A table that is 0 has 0.
    Raises `InputError` for a batch, factors that are not finite, a share outside 0..1, or fewer than 2 rows or draws.
    """
    check_one(table)
    if not 0 < share < 1 or rows < 2 or draws < 2:
        raise InputError(f"expected 0 < share < 1, and 2 rows and draws or more; got {share}, {rows} and {draws}")
    read = row_shares(table, share, rows, generator, progress)
    twins = [row_shares(random_twin(table, generator), share, rows, generator).mean() for _ in range(draws)]
    return Concentration(share, estimate(read, table.shape[0]), student_t_interval(torch.stack(twins)))


def estimate(shares: Float[Tensor, " row"], n_rows: int) -> Estimate:
    """The mean over rows; exact where all of them were read."""
    if len(shares) < n_rows:
        return student_t_interval(shares)
    mean = float(shares.mean())
    return Estimate(mean, mean, mean, len(shares), 0.95, "all rows")


def row_shares(
    table: Factored, share: float, rows: int, generator: torch.Generator, progress: Progress | None = None
) -> Float[Tensor, " row"]:
    """For each of some rows the smallest share of its entries that holds `share` of its squared mass."""
    m, n = table.shape
    chosen = None
    if rows < m:
        drawn = torch.randperm(m, generator=generator, device=generator.device)[:rows]
        chosen = drawn.sort().values.to(table.A.device)
    found = []
    for _, dense in dense_tiles(table, TILE, progress, chosen):
        mass = dense.double().square().sort(-1, descending=True).values.cumsum(-1)
        needed = (mass < share * mass[:, -1:]).sum(-1) + 1
        found.append(torch.where(mass[:, -1] > 0, needed.double() / n, 0.0))
    return torch.cat(found)


def random_twin(table: Factored, generator: torch.Generator) -> Factored:
    """A table of the same shape and singular values, its singular vectors drawn at random."""
    sigma = table.singular_values()
    left, right = (
        torch.linalg.qr(
            torch.randn(size, len(sigma), generator=generator, dtype=table.A.dtype, device=generator.device)
        ).Q.to(table.A.device)
        for size in table.shape
    )
    return Factored(left * sigma, right.mT)


def check_one(table: Factored) -> None:
    """`InputError` unless it is one table of finite numbers."""
    if table.batch:
        raise InputError(f"this reads one table at a time, got a batch of shape {list(table.batch)}")
    check_finite(table)
