"""What composition scores are when a Haar rotation stands between the two matrices: moments, limits, tails.

With a and b the squared singular values of both matrices as shares of their sums, padded with zeros to d = d_model, and
U a Haar-distributed orthogonal matrix, the squared score is s² = sum_ij a_i U_ij² b_j. Its moments follow from zonal
polynomials, E s²^k = sum over partitions of C(a) C(b) / C(1):

    mean 1/d,    variance 2 p2(a) p2(b) / ((d - 1)(d + 2)),
    third central moment 8 d p3(a) p3(b) / ((d - 1)(d - 2)(d + 2)(d + 4))

with p_k(a) = sum_i (a_i - 1/d)^k over all d entries, so that p2(a) = sum a_i² - 1/d. It is skewed to the right for low
ranks, and lies between the sums of products of the spectra in opposite and in equal order, which both are attained.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from interp.composition.tail import WeightedSum, log_tails

AT_ONCE = 2**21
"""Most weights of all pairs that are held at once."""
LEAST_SCALE = 1e-3
"""Of the matched law, which is normal at 0: reached only where the skewness is below a thousandth of the usual."""


@dataclass(frozen=True, eq=False)
class RotationLaw:
    """The law of s² of all pairs with these spectra (shares of squared singular values), float64."""

    left: Float[Tensor, "early head i"]
    right: Float[Tensor, "late other j"]
    d_model: int

    @property
    def variance(self) -> Float[Tensor, "early head late other"]:
        """Of s²."""
        d = self.d_model
        scale = 2 / ((d - 1) * (d + 2)) if d > 1 else 0.0
        return scale * outer(self.central(self.left, 2), self.central(self.right, 2)).clamp_min(0)

    @property
    def third(self) -> Float[Tensor, "early head late other"]:
        """Third central moment of s²."""
        d = self.d_model
        scale = 8 * d / ((d - 1) * (d - 2) * (d + 2) * (d + 4)) if d > 2 else 0.0
        return scale * outer(self.central(self.left, 3), self.central(self.right, 3))

    def central(self, shares: Float[Tensor, "layer head k"], power: int) -> Float[Tensor, "layer head"]:
        """p_k of the module's docstring; 0 for matrices that are 0."""
        d = self.d_model
        rest = (d - shares.shape[-1]) * (-1 / d) ** power
        return torch.where(shares.sum(-1) > 0, (shares - 1 / d).pow(power).sum(-1) + rest, 0.0)

    @property
    def bound(self) -> Float[Tensor, "early head late other"]:
        """The largest score that some rotation attains, sqrt(sum_i a_i b_i) with both spectra descending."""
        k = min(self.left.shape[-1], self.right.shape[-1])
        return outer_product(self.left[..., :k], self.right[..., :k]).clamp_min(0).sqrt()

    @property
    def floor(self) -> Float[Tensor, "early head late other"]:
        """The smallest score that some rotation attains: 0 unless the ranks add up to more than d_model."""
        ascending = padded(self.right, self.d_model).flip(-1)
        return outer_product(padded(self.left, self.d_model), ascending).clamp_min(0).sqrt()

    def log_tails(
        self, squares: Float[Tensor, " pair"], at: tuple[Tensor, Tensor, Tensor, Tensor]
    ) -> tuple[Float[Tensor, " pair"], Float[Tensor, " pair"]]:
        """log P(s² >= x) and log P(s² <= x) of the pairs `at` (an index of four tensors), by the matched law.

        That is a weighted sum of independent gamma variables, A c sum_ij (a_i b_j / d) G_ij + shift, of the spectra's
        own weights (what s² is in the limit of large d), with A, c and shift such that the first three moments are
        exact. Its tails are by saddlepoint. They are close for spectra of many directions, and too heavy, which is the
        safe side, for few directions in a small space.
        """
        step = max(1, AT_ONCE // max(1, self.left.shape[-1] * self.right.shape[-1]))
        parts = [self._log_tails(x, i) for x, *i in zip(*(t.split(step) for t in (squares, *at)), strict=True)]
        empty = squares.new_empty(0)
        return (
            torch.cat([empty, *(part[0] for part in parts)]),
            torch.cat([empty, *(part[1] for part in parts)]),
        )

    def _log_tails(self, squares: Tensor, at: list[Tensor]) -> tuple[Tensor, Tensor]:
        d, index = self.d_model, tuple(at)
        a, b = self.left[index[:2]], self.right[index[2:]]
        of_sum = [factor * a.pow(k).sum(-1) * b.pow(k).sum(-1) / d**k for k, factor in ((2, 2), (3, 8))]
        share = self.variance[index] / of_sum[0]
        scale = self.third[index] / of_sum[1] / share
        scale = torch.where(scale < 0, scale.clamp_max(-LEAST_SCALE), scale.clamp_min(LEAST_SCALE))
        shape = share / scale**2
        weights = (a[:, :, None] * b[:, None, :]).flatten(1) / d
        return log_tails(squares, WeightedSum(weights, shape, scale, shift=(1 - shape * scale) / d))


def spectrum(factor: Float[Tensor, "layer head a b"]) -> Float[Tensor, "layer head k"]:
    """Squared singular values as shares of their sum, in float64 on the CPU; all 0 for a matrix that is 0."""
    squares = torch.linalg.svdvals(factor.double().cpu()).square()
    return squares / squares.sum(-1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)


def outer(x: Float[Tensor, "early head"], y: Float[Tensor, "late other"]) -> Float[Tensor, "early head late other"]:
    return x[:, :, None, None] * y


def outer_product(
    x: Float[Tensor, "early head k"], y: Float[Tensor, "late other k"]
) -> Float[Tensor, "early head late other"]:
    return torch.einsum("lhi,mki->lhmk", x, y)


def padded(shares: Float[Tensor, "layer head k"], length: int) -> Float[Tensor, "layer head {length}"]:
    return torch.nn.functional.pad(shares, (0, length - shares.shape[-1]))
