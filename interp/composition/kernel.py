"""How much the space an earlier head writes into overlaps the space a later head reads from.

    PK = ||U V^T||_F²,    U, V: orthonormal rows that span what OV_e writes and what M_l reads

the sum of squared cosines of the principal angles, 0 to min(r, s) for ranks r and s (Yamagiwa 2026, arXiv:2601.10266).
It is r s times the squared composition score of flat spectra: singular values play no part. For independent random
spaces of these ranks,

    mean r s / d,    variance 2 r s (d - r)(d - s) / (d² (d - 1)(d + 2)),    d = d_model

which for r = s is the published formula. Like raw scores it depends on the basis of the residual stream.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.composition.draws import rotated_scores
from interp.composition.kinds import Kind, checked_offsets
from interp.composition.law import RotationLaw
from interp.composition.p_values import rotation_p_values
from interp.composition.scores import by_grams, left_factors, placed, right_factors
from interp.errors import InputError
from interp.inputs import checked
from interp.stats.scored import without_nan
from interp.weights import TransformerWeights


@dataclass(frozen=True)
class Overlap:
    """Kernels `[earlier layer, head, later layer, head]`, NaN where no pair is, with ranks and random moments."""

    kind: Kind
    kernel: Float[Tensor, "layer head layer head"]
    written: Int[Tensor, "layer head"]
    """Numerical rank of each head's OV."""
    read: Int[Tensor, "layer head"]
    """Numerical rank of each head's QK (Q, K) or OV (V)."""
    mean: Float[Tensor, "layer head layer head"]
    std: Float[Tensor, "layer head layer head"]
    p_above: Float[Tensor, "layer head layer head"]
    """P(random spaces of these ranks overlap at least as much); 1 where every space of the rank does."""
    p_below: Float[Tensor, "layer head layer head"]

    @property
    def largest(self) -> Float[Tensor, "layer head layer head"]:
        """min(r, s)."""
        return torch.minimum(self.written[:, :, None, None], self.read).to(self.kernel)

    @property
    def z(self) -> Float[Tensor, "layer head layer head"]:
        """(kernel - mean) / std; for p-values see `p_above`, the law is not normal. NaN where nothing varies."""
        return (self.kernel - self.mean) / self.std.masked_fill(self.std == 0, float("nan"))

    def to_dict(self) -> dict[str, Any]:
        names = ("kernel", "written", "read", "mean", "std", "p_above", "p_below", "z")
        return {"kind": self.kind} | {name: without_nan(getattr(self, name).tolist()) for name in names}


@checked
def projection_kernel(
    w: TransformerWeights, kind: Kind, generator: torch.Generator, draws: int = 1000, offset: int | None = None
) -> Overlap:
    """`Overlap` of all pairs, in float64.

    A singular value counts towards the rank above max(d_model, d_head) eps times the largest, eps of the weights' own
    precision. p-values as for composition scores, with `draws` random rotations. A head that is 0 overlaps nothing.
    Raises `InputError` for another kind, weights that are not finite, rotary positions without an offset, and fewer
    than two draws.
    """
    if draws < 2:
        raise InputError(f"a null needs at least 2 draws, got {draws}")
    chosen = checked_offsets(w, kind, offset)
    tolerance = max(w.d_model, w.d_head) * torch.finfo(w.dtype).eps
    exact = w.to(dtype=torch.float64, device="cpu")
    writes, written = row_space(left_factors(exact), tolerance)
    reads, read = row_space(right_factors(exact, kind, chosen).mT, tolerance)
    kernel = kernels(writes, reads)
    law = RotationLaw(flat(written, writes.shape[2]), flat(read, reads.shape[2]), w.d_model)
    scores = (kernel / (written[:, :, None, None] * read).clamp_min(1)).sqrt()
    null = rotated_scores(law.left, law.right, w.d_model, generator, draws)
    above, below = rotation_p_values(scores, law, null, 1e-10)
    mean, std = random_moments(written[:, :, None, None], read, w.d_model)
    return Overlap(kind, kernel, written, read, mean, std, above, below)


def kernels(
    writes: Float[Tensor, "layer head m d_model"], reads: Float[Tensor, "layer head n d_model"]
) -> Float[Tensor, "layer head layer head"]:
    """||U V^T||_F² of every orthonormal U of a layer with the V of later layers: tr(U^T U V^T V)."""
    n_layers, n_heads = writes.shape[:2]
    if n_layers < 2:
        return writes.new_full((n_layers, n_heads, n_layers, n_heads), float("nan"))
    early, late = writes[:-1].flatten(0, 1), reads[1:].flatten(0, 1)
    return placed(by_grams(early, early, late, late, n_heads), n_heads)


def random_moments(
    r: Int[Tensor, "*left"], s: Int[Tensor, "*right"], d_model: int
) -> tuple[Float[Tensor, "*both"], Float[Tensor, "*both"]]:
    """Mean and standard deviation of the kernel of independent random spaces of dimensions r and s."""
    r, s = r.double(), s.double()
    d = d_model
    spread = 2 * r * s * (d - r) * (d - s) / (d**2 * max(1, d - 1) * (d + 2))
    return r * s / d, spread.sqrt()


def row_space(
    factors: Float[Tensor, "layer head k d_model"], tolerance: float
) -> tuple[Float[Tensor, "layer head m d_model"], Int[Tensor, "layer head"]]:
    """Orthonormal rows that span each matrix's rows, with rows of 0 up to the largest possible rank; and the ranks."""
    _, singular, rows = torch.linalg.svd(factors, full_matrices=False)
    kept = singular > tolerance * singular[..., :1]
    return rows * kept[..., None], kept.sum(-1)


def flat(ranks: Int[Tensor, "layer head"], length: int) -> Float[Tensor, "layer head {length}"]:
    """The spectrum of a projection of each rank, as shares."""
    below = torch.arange(length) < ranks[..., None]
    return below.double() / ranks.clamp_min(1)[..., None]
