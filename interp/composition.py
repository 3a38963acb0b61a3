"""How strongly a later head reads what an earlier one writes: Q-, K- and V-composition of all pairs, with nulls.

With QK = W_Q R W_K^T and OV = W_V W_O (rows are vectors), e the earlier and l the later head, the score is

    ||OV_e M_l||_F / (||OV_e||_F ||M_l||_F),    M = QK (Q-composition), QK^T (K), OV (V)

(Elhage et al. 2021). Only the small sides are multiplied: with W_V = Q_V R_V, ||W_V X||_F = ||R_V X||_F. The cyclic
identity, which holds for traces, does not hold for Frobenius norms: an early figure of that paper used it.

These scores belong to the weights as they stand (biases, positions and the scale of a normalisation are not in them)
and depend on the basis of the residual stream, which nothing fixes in a model without normalisation: there, read
`interp.token_composition` instead. Being far from a null is not being part of a circuit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import InputError
from interp.factored import triangular
from interp.scored import Scored, without_nan
from interp.stats import Null, null_summary
from interp.transformer_weights import TransformerWeights

Kind = Literal["Q", "K", "V"]

ROTATED = "the same two matrices with a random (Haar) rotation of the residual stream between them"
SAMPLED = "matrices of the same shapes with independent normal entries"
FREE_BASIS = (
    "nothing fixes the basis of this model's residual stream (it has no normalisation), so these scores would change "
    "under a change of basis that leaves the model's function alone; read composition in token space instead"
)


@dataclass(frozen=True)
class Composition:
    """Scores `[earlier layer, head, later layer, head]` with nulls; NaN where the first layer is not the earlier."""

    kind: Kind
    rotated: Scored
    """The scores, each beside draws with a Haar rotation between the two matrices, which keeps their spectra."""
    baseline: float
    """1 / sqrt(d_model): the root mean square under either null, exactly, whatever the spectra. Scores of matrices
    that do not compose are skewed to the right and on average a little lower."""
    sampled: Null
    """Scores of independent normal factors of the same shapes."""
    offsets: tuple[int, ...] | None
    """Rotary positions (Q and K): the score is the root mean square over these values of dest - src."""
    warning: str | None
    """Why raw scores mean little for this model, or None."""

    @property
    def score(self) -> Float[Tensor, "layer head layer head"]:
        return self.rotated.value

    def to_dict(self) -> dict[str, Any]:
        return self.rotated.to_dict() | {
            "kind": self.kind,
            "score": without_nan(self.score.tolist()),
            "baseline": self.baseline,
            "sampled": self.sampled.to_dict(),
            "offsets": None if self.offsets is None else list(self.offsets),
            "warning": self.warning,
        }


def composition(
    w: TransformerWeights,
    kind: Kind,
    generator: torch.Generator,
    draws: int = 200,
    offsets: int | Sequence[int] | None = None,
) -> Composition:
    """`composition_scores` beside what they are when there is nothing to find.

    The same `draws` rotations serve all pairs: only the corner that meets both row spaces is needed, and of the
    matrices only their singular values. Raises `InputError` as `composition_scores`, and for fewer than two draws.
    """
    if draws < 2:
        raise InputError(f"a null needs at least 2 draws, got {draws}")
    chosen = checked_offsets(w, kind, offsets)
    left, right = left_factors(w), right_factors(w, kind, chosen)
    null = rotated_scores(spectrum(left), spectrum(right), w.d_model, generator, draws)
    null = null.masked_fill(~is_pair(w), float("nan"))
    return Composition(
        kind=kind,
        rotated=Scored(pair_scores(left, right), null.to(w.device), ROTATED),
        baseline=w.d_model**-0.5,
        sampled=null_summary(sampled_scores(w.d_model, w.d_head, generator, draws), SAMPLED),
        offsets=None if w.rotary_base is None or kind == "V" else chosen,
        warning=FREE_BASIS if w.normalization == "none" else None,
    )


def composition_scores(
    w: TransformerWeights, kind: Kind, offsets: int | Sequence[int] | None = None
) -> Float[Tensor, "layer head layer head"]:
    """Scores `[earlier layer, head, later layer, head]`; NaN where the first layer is not the earlier.

    A head whose weights are zero composes with nobody: 0. With rotary positions Q- and K-composition exist for each
    offset = dest - src separately: several `offsets` give the root mean square over them.
    Raises `InputError` for another kind, or for rotary positions without offsets.
    """
    return pair_scores(left_factors(w), right_factors(w, kind, checked_offsets(w, kind, offsets)))


def check_kind(kind: str) -> None:
    if kind not in get_args(Kind):
        raise InputError(f"composition is of kind 'Q', 'K' or 'V', got {kind!r}")


def checked_offsets(w: TransformerWeights, kind: Kind, offsets: int | Sequence[int] | None) -> tuple[int, ...]:
    check_kind(kind)
    if w.rotary_base is None or kind == "V":
        return (0,)
    chosen = (offsets,) if isinstance(offsets, int) else tuple(offsets or ())
    if not chosen:
        raise InputError(
            f"with rotary positions {kind}-composition depends on dest - src: pass offsets=1, or several, for example "
            f"offsets=range({w.n_ctx})"
        )
    return chosen


def left_factors(w: TransformerWeights) -> Float[Tensor, "layer head row d_model"]:
    """R_V W_O: OV up to an orthogonal map on its left."""
    return triangular(w.W_V) @ w.W_O


def right_factors(
    w: TransformerWeights, kind: Kind, offsets: Sequence[int]
) -> Float[Tensor, "layer head d_model column"]:
    """M up to an orthogonal map on its right; for several offsets, all M / ||M|| side by side, of the same Gram."""
    if kind == "V":
        return w.W_V @ triangular(w.W_O.mT).mT
    reads, other = (w.W_Q, w.W_K) if kind == "Q" else (w.W_K, w.W_Q)
    small = triangular(other).mT
    turned = [(w.rotation(o) if kind == "Q" else w.rotation(o).mT) @ small for o in offsets]
    if len(turned) == 1:
        return reads @ turned[0]
    sizes = [torch.linalg.matrix_norm(triangular(reads) @ each, keepdim=True) for each in turned]
    unit = [each / size.clamp_min(torch.finfo(w.dtype).tiny) for each, size in zip(turned, sizes, strict=True)]
    return reads @ triangular(torch.cat(unit, dim=-1).mT).mT


def pair_scores(
    left: Float[Tensor, "layer head row d_model"], right: Float[Tensor, "layer head d_model column"]
) -> Float[Tensor, "layer head layer head"]:
    n_layers, n_heads = left.shape[:2]
    scores = left.new_full((n_layers, n_heads, n_layers, n_heads), float("nan"))
    size_left, size_right = torch.linalg.matrix_norm(left), torch.linalg.matrix_norm(right)
    for earlier in range(n_layers - 1):
        reads = right[earlier + 1 :]
        product = left[earlier].flatten(0, 1) @ reads.permute(2, 0, 1, 3).flatten(1)  # (head row) (layer head column)
        blocks = product.reshape(n_heads, left.shape[2], n_layers - earlier - 1, n_heads, -1)
        sizes = size_left[earlier, :, None, None] * size_right[earlier + 1 :]
        norms = blocks.square().sum((1, 4)).sqrt()
        scores[earlier, :, earlier + 1 :] = torch.where(sizes > 0, norms / sizes.where(sizes > 0, 1.0), 0.0)
    return scores


def is_pair(w: TransformerWeights) -> Tensor:
    """[layer head layer head]: whether the first head is in an earlier layer."""
    layers = torch.arange(w.n_layers)
    earlier = layers[:, None, None, None] < layers[None, None, :, None]
    return earlier.expand(w.n_layers, w.n_heads, w.n_layers, w.n_heads)


def spectrum(factor: Float[Tensor, "layer head a b"]) -> Float[Tensor, "layer head k"]:
    """Squared singular values as shares of their sum, in float64 on the CPU; all 0 for a matrix that is 0."""
    squares = torch.linalg.svdvals(factor.double().cpu()).square()
    return squares / squares.sum(-1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)


def rotated_scores(
    left: Float[Tensor, "layer head row"],
    right: Float[Tensor, "layer head column"],
    d_model: int,
    generator: torch.Generator,
    draws: int,
) -> Float[Tensor, "draw layer head layer head"]:
    """sqrt(sum_ij a_i U_ij^2 b_j): scores of matrices with spectra a and b and a Haar rotation U between them."""
    shape = (draws, d_model, right.shape[-1])
    normal = torch.randn(shape, generator=generator, dtype=torch.float64, device=generator.device)
    corner = torch.linalg.qr(normal.cpu()).Q[:, : left.shape[-1]].square()  # draw row column: signs do not matter
    return torch.einsum("lhi,nij,mkj->nlhmk", left, corner, right).sqrt()


def sampled_scores(d_model: int, d_head: int, generator: torch.Generator, draws: int) -> Float[Tensor, " draw"]:
    """Scores of independent pairs whose four factors have independent standard normal entries."""
    W = torch.randn(4, draws, d_model, d_head, generator=generator, dtype=torch.float64, device=generator.device)
    left, right = triangular(W[0]) @ W[1].mT, W[2] @ triangular(W[3]).mT
    sizes = torch.linalg.matrix_norm(left) * torch.linalg.matrix_norm(right)
    return torch.linalg.matrix_norm(left @ right) / sizes
