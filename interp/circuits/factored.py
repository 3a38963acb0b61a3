"""Low-rank matrices that are never multiplied out unless asked for."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from interp.circuits.eigenvalues import eigenvalues
from interp.errors import InputError


@dataclass(frozen=True, eq=False)
class Factored:
    """The matrix `A B` (or a batch of them), of rank at most r: A is `[.. m r]`, B is `[.. r n]`.

    A full circuit over a vocabulary of V tokens is V x V but has rank d_head: 2 V d_head numbers say all of it, its
    eigenvalues are those of the d_head x d_head matrix B A, its singular values those of R_A R_B^T with A = Q_A R_A
    and B^T = Q_B R_B.
    """

    A: Float[Tensor, "*left m r"]
    B: Float[Tensor, "*right inner n"]

    def __post_init__(self) -> None:
        if self.A.ndim < 2 or self.B.ndim < 2 or self.A.shape[-1] != self.B.shape[-2]:
            raise InputError(
                f"factors must be [.. m r] and [.. r n], got {list(self.A.shape)} and {list(self.B.shape)}"
            )
        broadcast(self.A.shape[:-2], self.B.shape[:-2])

    @property
    def batch(self) -> torch.Size:
        return broadcast(self.A.shape[:-2], self.B.shape[:-2])

    @property
    def shape(self) -> torch.Size:
        return torch.Size([*self.batch, self.A.shape[-2], self.B.shape[-1]])

    @property
    def rank(self) -> int:
        """The inner dimension r: an upper bound of the rank."""
        return self.A.shape[-1]

    @property
    def T(self) -> "Factored":
        return Factored(self.B.mT, self.A.mT)

    def dense(self) -> Float[Tensor, "*batch m n"]:
        return self.A @ self.B

    def to(self, dtype: torch.dtype) -> "Factored":
        return Factored(self.A.to(dtype), self.B.to(dtype))

    def __getitem__(self, index: Any) -> "Factored":
        """One matrix, or some, of a batch."""
        whole = self.expand(self.batch)
        index = index if isinstance(index, tuple) else (index,)
        if len(index) > len(self.batch):
            raise InputError(f"{len(index)} indices for a batch of shape {list(self.batch)}; see rows() and entries()")
        return Factored(whole.A[index], whole.B[index])

    def expand(self, batch: torch.Size) -> "Factored":
        return Factored(self.A.expand(*batch, *self.A.shape[-2:]), self.B.expand(*batch, *self.B.shape[-2:]))

    def __matmul__(self, other: "Factored | Tensor") -> "Factored":
        """The product, with the smaller of the two inner dimensions."""
        if isinstance(other, Tensor):
            return Factored(self.A, self.B @ other)
        inner = self.B @ other.A
        if self.rank <= other.rank:
            return Factored(self.A, inner @ other.B)
        return Factored(self.A @ inner, other.B)

    def __rmatmul__(self, other: Tensor) -> "Factored":
        return Factored(other @ self.A, self.B)

    def __sub__(self, other: "Factored") -> "Factored":
        """The difference, with the inner dimensions added up."""
        batch = broadcast(self.batch, other.batch)
        x, y = self.expand(batch), other.expand(batch)
        return Factored(torch.cat([x.A, y.A], dim=-1), torch.cat([x.B, -y.B], dim=-2))

    def rows(self, index: Int[Tensor, " row"]) -> Float[Tensor, "*batch row n"]:
        return self.A[..., index, :] @ self.B

    def entries(self, row: Int[Tensor, "*index"], column: Int[Tensor, "*index"]) -> Float[Tensor, "*batch_index"]:
        """Elements (row, column), pair by pair, on the last axes."""
        return (self.A[..., row, :] * self.B.mT[..., column, :]).sum(-1)

    def diagonal(self) -> Float[Tensor, "*batch k"]:
        k = min(self.shape[-2:])
        return (self.A[..., :k, :] * self.B[..., :, :k].mT).sum(-1)

    def trace(self) -> Float[Tensor, "*batch"]:
        self.check_square()
        return (self.A * self.B.mT).sum((-2, -1))

    def eigenvalues(self) -> Complex[Tensor, "*batch k"]:
        """The eigenvalues that can differ from 0, largest magnitude first; the others, up to m, are 0.

        Those of B A, which are those of A B: k = min(r, m). Computed in float64. Raises `InputError` if not square.
        """
        self.check_square()
        small = self.B.double() @ self.A.double() if self.rank <= self.shape[-1] else self.dense().double()
        values = eigenvalues(small.expand(*self.batch, *small.shape[-2:]))
        order = values.abs().argsort(dim=-1, descending=True)
        return values.gather(-1, order)

    def singular_values(self) -> Float[Tensor, "*batch k"]:
        """Largest first, k = min(m, r, n); the others are 0. From QR of both sides, in float64."""
        R_A, R_B = triangular(self.A.double()), triangular(self.B.mT.double())
        core = R_A @ R_B.mT
        return torch.linalg.svdvals(core.expand(*self.batch, *core.shape[-2:])).to(self.A.dtype)

    def norm(self) -> Float[Tensor, "*batch"]:
        """Frobenius norm, ||A B||_F² = tr(A^T A B B^T); by QR of A where that difference cancels."""
        A, B = self.A.double(), self.B.double()
        squared = ((A.mT @ A) * (B @ B.mT)).sum((-2, -1))
        scale = A.square().sum((-2, -1)) * B.square().sum((-2, -1))
        if bool((squared < 1e-6 * scale).any()):
            squared = (triangular(A) @ B).square().sum((-2, -1))
        return squared.sqrt().to(self.A.dtype)

    def check_square(self) -> None:
        if self.shape[-2] != self.shape[-1]:
            raise InputError(f"this needs a square matrix, got {self.shape[-2]} x {self.shape[-1]}")


def triangular(matrix: Float[Tensor, "*batch m r"]) -> Float[Tensor, "*batch k r"]:
    """R of the QR decomposition: the matrix up to an orthogonal map of its rows."""
    return torch.linalg.qr(matrix, mode="r").R


def broadcast(one: torch.Size, other: torch.Size) -> torch.Size:
    """The shape of both batches together; numpy's, for `torch.broadcast_shapes` first imports half a second of code."""
    try:
        return torch.Size(np.broadcast_shapes(one, other))
    except ValueError:
        raise InputError(f"batches of factors must fit each other, got {list(one)} and {list(other)}") from None
