"""Eigenvalues that are there also where LAPACK gives up, as it does on some permutations."""

from collections.abc import Iterator

import torch
from jaxtyping import Complex, Float
from torch import Tensor


def eigenvalues(matrices: Float[Tensor, "*batch n n"]) -> Complex[Tensor, "*batch n"]:
    """The eigenvalues of square matrices, exact to rounding.

    The QR iteration does not always converge where many eigenvalues are the same or lie on a circle (an exact
    permutation, a relabelled identity), and one such matrix fails its whole batch. Then each is tried by itself: as it
    is, transposed, and with something of the size of rounding added to it, eps |M| cos(1.7 i + 2.3 j).
    Raises `torch.linalg.LinAlgError` if none of these converges.
    """
    try:
        return torch.linalg.eigvals(matrices)
    except torch.linalg.LinAlgError:
        flat = matrices.flatten(0, -3) if matrices.ndim > 2 else matrices[None]
        return torch.stack([_of_one(matrix) for matrix in flat]).view(matrices.shape[:-1])


def _of_one(matrix: Float[Tensor, "n n"]) -> Complex[Tensor, " n"]:
    failure: Exception | None = None
    for same in _variants(matrix):
        try:
            return torch.linalg.eigvals(same)
        except torch.linalg.LinAlgError as error:
            failure = error
    assert failure is not None
    raise failure


def _variants(matrix: Float[Tensor, "n n"]) -> Iterator[Float[Tensor, "n n"]]:
    """Matrices with the same eigenvalues, but for rounding."""
    yield matrix
    yield matrix.mT.contiguous()
    i = torch.arange(len(matrix), dtype=matrix.dtype, device=matrix.device)
    eps = torch.finfo(matrix.dtype).eps * matrix.norm()
    for size in (1, 8):
        yield matrix + size * eps * torch.cos(1.7 * i[:, None] + 2.3 * i)
