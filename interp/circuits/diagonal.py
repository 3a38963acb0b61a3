"""Does a square table favour its own diagonal? The question behind copying and behind matching tokens."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.circuits.eigenvalues import eigenvalues
from interp.circuits.entries import tile_rows
from interp.circuits.factored import Factored
from interp.errors import InputError
from interp.stats import Scored

MOST_AT_ONCE = 2**23
"""Numbers of relabelled tables that are held at once."""
NULL = "the table with its columns relabelled at random"


@dataclass(frozen=True)
class DiagonalScores:
    """Three readings of how much a table's entry (i, i) stands out from the rest of row i, each beside its null.

    The null relabels the columns by random permutations: it asks whether *this* token is favoured rather than some
    other. It keeps everything else (singular values, row sums, frequent directions that every token shares), it does
    not depend on a basis of the residual stream or of the head, and it is exact: under "which column belongs to which
    row does not matter" every relabelling is equally likely. A rotation between the factors inside the head would
    break more than the question asks, and depends on the basis that the head happens to be written in.
    """

    cosine: Scored
    """Cosine between the table and the identity, -1..1; the null's mean is 0."""
    top1: Scored
    """Share of rows whose own entry is the (only) largest; the null's mean is `chance`."""
    chance: float
    """1 / number of rows."""
    table: Factored
    """The table, in float64, minus its row means."""
    columns: Int[Tensor, "draw n"]
    """Which old column is the i-th, as it is and in each draw."""

    @cached_property
    def eigenvalue(self) -> Scored:
        """sum(lambda) / sum(|lambda|), -1..1 (Elhage et al. 2021); computed when it is first read."""
        shares = relabelled_shares(self.table, self.columns)
        return Scored(shares[0], shares[1:], NULL)

    def to_dict(self) -> dict[str, Any]:
        named = {"eigenvalue": self.eigenvalue, "cosine": self.cosine, "top1": self.top1}
        return {name: scored.to_dict() for name, scored in named.items()} | {"chance": self.chance}


def diagonal_scores(table: Factored, generator: torch.Generator, draws: int = 200, shift: int = 0) -> DiagonalScores:
    """`DiagonalScores` of a square table (or of each of a batch), its row means removed: the softmax ignores them.

        eigenvalue = sum(lambda) / sum(|lambda|),    cosine = tr(T) / (||T||_F sqrt(n - 1)),    T = table - row means

    With `shift`, entry (i, i + shift) counts as row i's own, and rows and columns without a partner are left out.
    Raises `InputError` if the table is not square, smaller than 2, or if fewer than two draws are asked for.
    """
    own = shifted(table, shift)
    n = own.shape[-1]
    if n < 2 or draws < 2:
        raise InputError(f"a diagonal is scored with at least 2 rows and 2 draws, got {n} and {draws}")
    A, B = own.A.double(), own.B.double()
    centred = Factored(A, B - B.mean(-1, keepdim=True)).expand(own.batch)
    draw = [torch.randperm(n, generator=generator, device=generator.device) for _ in range(draws)]
    columns = torch.stack([torch.arange(n), *(each.cpu() for each in draw)]).to(A.device)
    trace, top1 = relabelled_diagonals(centred, columns)
    cosine = ratio(trace, (centred.norm() * (n - 1) ** 0.5).expand_as(trace))
    cos, top = (Scored(x[0], x[1:], NULL) for x in (cosine, top1))
    return DiagonalScores(cos, top, 1 / n, centred, columns)


def relabelled_diagonals(
    table: Factored, columns: Int[Tensor, "draw n"]
) -> tuple[Float[Tensor, "draw *batch"], Float[Tensor, "draw *batch"]]:
    """Trace, and share of rows whose own entry is the only largest, if the i-th column is the old `columns[draw, i]`.

    In one pass over the dense table, by tiles.
    """
    draws, n = columns.shape
    traces, hits = table.A.new_zeros(*table.batch, draws), table.A.new_zeros(*table.batch, draws)
    for rows in tile_rows(n, max(n, draws) * table.batch.numel(), device=table.A.device):
        dense, own = table.rows(rows), columns[:, rows].T
        traces += dense.gather(-1, own.expand(*table.batch, -1, -1)).sum(-2)
        hits += (unique_argmax(dense).unsqueeze(-1) == own).sum(-2)
    return traces.movedim(-1, 0), hits.movedim(-1, 0) / n


def relabelled_shares(table: Factored, columns: Int[Tensor, "draw n"]) -> Float[Tensor, "draw *batch"]:
    """`eigenvalue_share` of the relabelled tables: relabelling the columns of B is relabelling the rows of A back."""
    noise, n = rounding(table), table.shape[-1]
    if table.rank > n:
        table = Factored(table.dense(), torch.eye(n).to(table.A)).expand(table.batch)
    found = []
    for back in columns.argsort(-1).split(max(1, MOST_AT_ONCE // (n * table.rank * table.batch.numel()))):
        rows = table.A.index_select(-2, back.T.flatten())  # *batch (n draw) r
        core = table.B @ rows.view(*table.batch, n, -1)  # *batch r (draw r)
        found.append(core_share(core.unflatten(-1, (len(back), -1)).movedim(-2, 0), noise))
    return torch.cat(found)


def eigenvalue_share(table: Factored) -> Float[Tensor, "*batch"]:
    """sum(lambda) / sum(|lambda|), in float64: 1 if all eigenvalues are positive reals, 0 for a table that is 0.

    The numerator is the trace, which rounding does not disturb as it does the eigenvalues of defective matrices.
    """
    return core_share(table.B.double() @ table.A.double(), rounding(table))


def core_share(core: Float[Tensor, "*batch r r"], noise: Float[Tensor, "*rest"]) -> Float[Tensor, "*batch"]:
    """`eigenvalue_share` of a table with these eigenvalues; 0 where they add up to no more than `noise`."""
    core = core.double()
    total = eigenvalues(core).abs().sum(-1)
    trace = core.diagonal(dim1=-2, dim2=-1).sum(-1)
    return torch.where(total > noise, ratio(trace, total), 0.0).clamp(-1, 1)


def rounding(table: Factored) -> Float[Tensor, "*batch"]:
    """What eigenvalues add up to by rounding alone."""
    size = table.A.double().square().sum((-2, -1)).sqrt() * table.B.double().square().sum((-2, -1)).sqrt()
    return torch.finfo(table.A.dtype).eps * size


def ratio(above: Float[Tensor, "*batch"], below: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """above / below, 0 where below is 0."""
    return torch.where(below > 0, above / below.where(below > 0, 1.0), 0.0)


def shifted(table: Factored, shift: int) -> Factored:
    """The square part of the table in which entry (i, i + shift) is on the diagonal."""
    table.check_square()
    n = table.shape[-1]
    if abs(shift) >= n:
        raise InputError(f"a table of {n} rows cannot be shifted by {shift}")
    rows = slice(0, n - shift) if shift >= 0 else slice(-shift, n)
    columns = slice(shift, n) if shift >= 0 else slice(0, n + shift)
    return Factored(table.A[..., rows, :], table.B[..., columns])


def unique_argmax(rows: Float[Tensor, "*batch row column"]) -> Int[Tensor, "*batch row"]:
    """The column of each row's largest entry; -1 where several are the largest."""
    best, column = rows.max(-1)
    ties = (rows == best.unsqueeze(-1)).sum(-1) > 1
    return column.masked_fill(ties, -1)
