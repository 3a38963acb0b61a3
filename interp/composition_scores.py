"""The ratios of Frobenius norms, of all pairs at once.

||L R||_F² is the inner product of L^T L and R R^T, each of one head alone: d_model² / 2 multiplications for a pair
instead of the rows x columns x d_model of the product, and the Gram matrices are made a band of rows at a time, so
that memory does not grow with the model. That sum of signed terms cancels where the product is small: such pairs are
multiplied out.
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from interp.composition_kinds import Kind, checked_offsets, needs_offset
from interp.factored import triangular
from interp.transformer_weights import TransformerWeights

BAND = 2**22
"""Most numbers of one side, of Gram matrices or of factors, that are held at once."""
CANCELS = 1e-3
"""Below this share of what the Gram matrices' own norms allow, a pair is multiplied out."""


def composition_scores(
    w: TransformerWeights, kind: Kind, offsets: int | Sequence[int] | None = None
) -> Float[Tensor, "layer head layer head"]:
    """Scores `[earlier layer, head, later layer, head]`; NaN where the first layer is not the earlier.

    A head whose weights are zero composes with nobody: 0. With rotary positions Q- and K-composition exist for each
    offset = dest - src separately: several `offsets` give the root mean square over them.
    Raises `InputError` for another kind, for weights that are not finite, or for rotary positions without offsets.
    """
    return pair_scores(left_factors(w), right_factors(w, kind, checked_offsets(w, kind, offsets)))


def composition_by_offset(
    w: TransformerWeights, kind: Kind, offsets: int | Sequence[int]
) -> Float[Tensor, "offset layer head layer head"]:
    """`composition_scores` at each offset = dest - src; where nothing depends on it, the same for all."""
    chosen = (offsets,) if isinstance(offsets, int) else tuple(offsets)
    checked_offsets(w, kind, chosen)
    left = left_factors(w)
    if not needs_offset(w, kind):
        return pair_scores(left, right_factors(w, kind, (0,))).expand(len(chosen), *[-1] * 4)
    return torch.stack([pair_scores(left, right_factors(w, kind, (offset,))) for offset in chosen])


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
    """||L R||_F / (||L||_F ||R||_F) of each left factor with the right ones of later layers."""
    n_layers, n_heads = left.shape[:2]
    scores = left.new_full((n_layers, n_heads, n_layers, n_heads), float("nan"))
    if n_layers > 1 and n_heads:
        writes, reads = unit_size(left[:-1].flatten(0, 1)), unit_size(right[1:].flatten(0, 1).mT)
        squares = squared_products(writes, reads).reshape(n_layers - 1, n_heads, n_layers - 1, n_heads)
        for earlier in range(n_layers - 1):
            scores[earlier, :, earlier + 1 :] = squares[earlier, :, earlier:].sqrt()
    return scores


def squared_products(
    writes: Float[Tensor, "early row d_model"], reads: Float[Tensor, "late column d_model"]
) -> Float[Tensor, "early late"]:
    """||L R^T||_F² of every pair, by Gram matrices or by the product, whichever takes fewer multiplications."""
    d_model = writes.shape[-1]
    pairs = torch.cartesian_prod(torch.arange(len(writes)), torch.arange(len(reads))).to(writes.device)
    squares = writes.new_zeros(len(writes), len(reads))
    if d_model < 2 * writes.shape[1] * reads.shape[1]:
        sizes = writes.new_zeros(len(writes)), writes.new_zeros(len(reads))
        height = max(1, BAND // (d_model * max(1, len(writes), len(reads))))
        for early, late in zip(bands(writes, height), bands(reads, height), strict=True):
            squares.addmm_(early, late.mT)
            sizes[0].add_(early.square().sum(1))
            sizes[1].add_(late.square().sum(1))
        pairs = (squares < CANCELS * torch.outer(*(size.sqrt() for size in sizes))).nonzero()
    for chosen in pairs.split(max(1, BAND // max(writes[0].numel(), reads[0].numel()))):
        product = writes[chosen[:, 0]] @ reads[chosen[:, 1]].mT
        squares[chosen[:, 0], chosen[:, 1]] = product.square().sum((1, 2))
    return squares


def bands(factors: Float[Tensor, "head row d_model"], height: int) -> Iterator[Float[Tensor, "head entry"]]:
    """The Gram matrices F^T F, `height` rows at a time from the diagonal on, what is right of it times sqrt(2)."""
    d_model = factors.shape[-1]
    for start in range(0, d_model, height):
        end = min(start + height, d_model)
        band = factors[:, :, start:end].mT @ factors[:, :, start:]
        band[:, :, end - start :] *= 2**0.5
        yield band.flatten(1)


def unit_size(factors: Float[Tensor, "head row d_model"]) -> Float[Tensor, "head row d_model"]:
    """Divided by their Frobenius norms; what is 0 stays 0."""
    size = torch.linalg.matrix_norm(factors, keepdim=True)
    return factors / size.where(size > 0, 1.0)
