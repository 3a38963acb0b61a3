"""Which rank-1 piece of an earlier head's OV talks to which rank-1 piece of a later head's QK or OV.

With singular values OV_e = sum_i sigma_i x_i u_i^T (u_i: a direction it writes) and M_l = sum_j tau_j v_j y_j^T (v_j: a
direction it reads), OV_e M_l = sum_ij sigma_i (u_i . v_j) tau_j x_i y_j^T. The pieces x_i y_j^T are orthonormal, so the
squares of sigma_i |u_i . v_j| tau_j add up to the squared norm of the product: divided by both norms, to score².
(Merullo et al. 2024, arXiv:2406.09519, read single components where whole scores are too noisy.)
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.composition.draws import AT_ONCE, ROTATED, haar_corners
from interp.composition.kinds import Kind, check_pair, checked_offsets
from interp.composition.scores import left_factors, right_factors
from interp.errors import InputError
from interp.inputs import checked
from interp.stats import Scored
from interp.weights import TransformerWeights


@dataclass(frozen=True)
class Piece:
    """Singular direction `write` of the earlier head into singular direction `read` of the later, both from 0."""

    write: int
    read: int
    value: float
    """sigma |u . v| tau / (||OV|| ||M||)."""
    cosine: float
    """|u . v|."""
    share: float
    """Of the squared score."""


@dataclass(frozen=True)
class Pieces:
    """All pieces of one pair of heads, and how large the largest is by chance."""

    kind: Kind
    value: Float[Tensor, "write read"]
    """Their squares add up to `score` squared."""
    cosine: Float[Tensor, "write read"]
    score: float
    largest: Scored
    """The largest piece beside the largest of the same spectra with a Haar rotation in between."""

    def top(self, k: int = 5) -> list[Piece]:
        """The k largest pieces that are not 0."""
        best = self.value.flatten().topk(min(k, self.value.numel()))
        columns = self.value.shape[1]
        return [
            Piece(i // columns, i % columns, v, float(self.cosine.flatten()[i]), v * v / self.score**2)
            for v, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)
            if v > 0
        ]

    def to_dict(self, k: int = 5) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "score": self.score,
            "largest": self.largest.to_dict(),
            "top": [vars(piece) for piece in self.top(k)],
        }


@checked
def composition_pieces(
    w: TransformerWeights,
    earlier: tuple[int, int],
    later: tuple[int, int],
    kind: Kind,
    generator: torch.Generator,
    draws: int = 200,
    offset: int | None = None,
) -> Pieces:
    """`Pieces` of a pair of heads, in float64; all 0 where one of the matrices is 0.

    Raises `InputError` for heads that do not exist or do not follow each other, another kind, weights that are not
    finite, rotary positions without an offset, and fewer than two draws.
    """
    check_pair(w, earlier, later)
    if draws < 2:
        raise InputError(f"a null needs at least 2 draws, got {draws}")
    chosen = checked_offsets(w, kind, offset)
    one = w.to(dtype=torch.float64, device="cpu")
    left = left_factors(one)[earlier]
    right = right_factors(one, kind, chosen)[later]
    _, sigma, write = torch.linalg.svd(left, full_matrices=False)
    read, tau, _ = torch.linalg.svd(right, full_matrices=False)
    sigma, tau = shares(sigma), shares(tau)
    cosine = (write @ read).abs()
    value = sigma[:, None] * cosine * tau
    largest = largest_pieces(sigma, tau, w.d_model, generator, draws)
    return Pieces(kind, value, cosine, float(value.norm()), Scored(value.max(), largest, ROTATED))


def shares(singular: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
    """Divided by the matrix's norm; 0 where that is 0."""
    size = singular.norm()
    return singular / size if float(size) > 0 else singular


def largest_pieces(
    sigma: Float[Tensor, " i"], tau: Float[Tensor, " j"], d_model: int, generator: torch.Generator, draws: int
) -> Float[Tensor, " draw"]:
    """The largest entry of sigma_i |U_ij| tau_j under Haar rotations U."""
    step = max(1, AT_ONCE // max(1, d_model * len(tau)))
    found = []
    for n in [step] * (draws // step) + [draws % step] * (draws % step > 0):
        corner = haar_corners(d_model, len(sigma), len(tau), generator, n)
        found.append((sigma[:, None] * corner.abs() * tau).flatten(1).amax(1))
    return torch.cat(found)
