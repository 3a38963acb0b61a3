"""Does a square table favour its own diagonal? The question behind copying and behind matching tokens."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.entries import tile_rows
from interp.errors import InputError
from interp.factored import Factored
from interp.scored import Scored

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

    eigenvalue: Scored
    """sum(lambda) / sum(|lambda|), -1..1 (Elhage et al. 2021)."""
    cosine: Scored
    """Cosine between the table and the identity, -1..1; the null's mean is 0."""
    top1: Scored
    """Share of rows whose own entry is the (only) largest; the null's mean is `chance`."""
    chance: float
    """1 / number of rows."""

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
    largest = unique_argmax(centred)
    scale = centred.norm() * (n - 1) ** 0.5
    draw = [torch.randperm(n, generator=generator, device=generator.device) for _ in range(draws)]
    orders = torch.stack([torch.arange(n), *(each.cpu() for each in draw)]).to(A.device)
    size = n * A.shape[-1] * centred.batch.numel()
    found = [statistics(centred, largest, scale, each) for each in orders.split(max(1, MOST_AT_ONCE // size))]
    eigenvalue, cosine, top1 = (torch.cat(each) for each in zip(*found, strict=True))
    eigen, cos, top = (Scored(x[0], x[1:], NULL) for x in (eigenvalue, cosine, top1))
    return DiagonalScores(eigen, cos, top, 1 / n)


def statistics(
    table: Factored, largest: Int[Tensor, "*batch n"], scale: Float[Tensor, "*batch"], columns: Int[Tensor, "draw n"]
) -> tuple[Float[Tensor, "draw *batch"], Float[Tensor, "draw *batch"], Float[Tensor, "draw *batch"]]:
    """The three statistics of the table whose i-th column is now the old column `columns[draw, i]`, for each draw."""
    relabelled = table.B[..., columns].movedim(-2, 0)  # draw *batch r n
    core = relabelled @ table.A
    trace = core.diagonal(dim1=-2, dim2=-1).sum(-1)
    shape = (-1, *[1] * len(table.batch), table.shape[-1])
    top1 = (largest == columns.view(shape)).double().mean(-1)
    return _eigenvalue_share(core, trace, rounding(table)), ratio(trace, scale.expand_as(trace)), top1


def eigenvalue_share(table: Factored) -> Float[Tensor, "*batch"]:
    """sum(lambda) / sum(|lambda|), in float64: 1 if all eigenvalues are positive reals, 0 for a table that is 0.

    The numerator is the trace, which rounding does not disturb as it does the eigenvalues of defective matrices.
    """
    core = table.B.double() @ table.A.double()
    return _eigenvalue_share(core, core.diagonal(dim1=-2, dim2=-1).sum(-1), rounding(table))


def _eigenvalue_share(
    core: Float[Tensor, "*batch r r"], trace: Float[Tensor, "*batch"], noise: Float[Tensor, "*rest"]
) -> Float[Tensor, "*batch"]:
    total = torch.linalg.eigvals(core).abs().sum(-1)
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


def unique_argmax(table: Factored) -> Int[Tensor, "*batch row"]:
    """The column of each row's largest entry, by tiles; -1 where several are the largest."""
    found = []
    for rows in tile_rows(table.shape[-2], table.shape[-1] * table.batch.numel(), device=table.A.device):
        dense = table.rows(rows)
        best, column = dense.max(-1)
        ties = (dense == best.unsqueeze(-1)).sum(-1) > 1
        found.append(column.masked_fill(ties, -1))
    return torch.cat(found, dim=-1)
