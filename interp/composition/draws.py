"""Composition scores of what does not compose, drawn at random."""

import torch
from jaxtyping import Float
from torch import Tensor

from interp.circuits.factored import triangular

AT_ONCE = 2**22
"""Most numbers of random matrices that are held at once."""
ROTATED = "the same two matrices with a random (Haar) rotation of the residual stream between them"
SAMPLED = "matrices of the same shapes with independent normal entries"


def haar_corners(
    d_model: int, rows: int, columns: int, generator: torch.Generator, draws: int
) -> Float[Tensor, "draw row column"]:
    """The upper left corners of Haar-distributed orthogonal d_model x d_model matrices, in float64, signs aside.

    Of the columns only those up to `columns` are made: Q of a normal d_model x columns matrix.
    """
    corners = []
    left = draws
    while left > 0:
        n = min(left, max(1, AT_ONCE // max(1, d_model * columns)))
        shape = (n, d_model, columns)
        normal = torch.randn(shape, generator=generator, dtype=torch.float64, device=generator.device)
        corners.append(torch.linalg.qr(normal.cpu()).Q[:, :rows])
        left -= n
    return torch.cat(corners)


def rotated_scores(
    left: Float[Tensor, "early head row"],
    right: Float[Tensor, "late other column"],
    d_model: int,
    generator: torch.Generator,
    draws: int,
) -> Float[Tensor, "draw early head late other"]:
    """sqrt(sum_ij a_i U_ij^2 b_j): scores of matrices with spectra a and b and a Haar rotation U between them.

    The same rotations serve all pairs.
    """
    squares = haar_corners(d_model, left.shape[-1], right.shape[-1], generator, draws).square()
    return torch.einsum("lhi,nij,mkj->nlhmk", left, squares, right).sqrt()


def sampled_scores(d_model: int, d_head: int, generator: torch.Generator, draws: int) -> Float[Tensor, " draw"]:
    """Scores of independent pairs whose four factors have independent standard normal entries."""
    scores = []
    step = max(1, AT_ONCE // max(1, 4 * d_model * d_head))
    for n in [step] * (draws // step) + [draws % step] * (draws % step > 0):
        W = torch.randn(4, n, d_model, d_head, generator=generator, dtype=torch.float64, device=generator.device)
        left, right = triangular(W[0]) @ W[1].mT, W[2] @ triangular(W[3]).mT
        sizes = torch.linalg.matrix_norm(left) * torch.linalg.matrix_norm(right)
        scores.append(torch.linalg.matrix_norm(left @ right) / sizes)
    return torch.cat(scores)
