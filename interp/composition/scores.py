"""The ratios of Frobenius norms, of all pairs at once.

||L R^T||_F² is the inner product of L^T L and R^T R, each of one head alone: d_model² / 2 multiplications for a pair
instead of the rows x columns x d_model of the product, and the Gram matrices are made some rows at a time, so that
memory does not grow with the model. That sum of signed terms cancels where the product is small: such pairs are
multiplied out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.circuits.factored import triangular
from interp.composition.kinds import Kind, checked_offsets, needs_offset, widened
from interp.inputs import checked
from interp.weights import TransformerWeights

BAND = 2**23
"""Most numbers of one side, of Gram matrices or of factors, that are held at once."""
HEIGHT = 64
"""Rows of the Gram matrices that are made together: more is slower."""
CANCELS = 1e-3
"""Below this share of what the norms of the factors allow, a product is multiplied out."""


@dataclass(frozen=True, eq=False)
class Side:
    """Matrices `other outer`, known by their rows' Gram matrices outer^T (other^T other) outer."""

    outer: Float[Tensor, "*heads k d_model"]
    other: Float[Tensor, "*heads n k"]

    def rows(self) -> Float[Tensor, "*heads row d_model"]:
        """The matrices up to an orthogonal map on their left: R of `other`, times `outer`."""
        return triangular(self.other) @ self.outer

    def flat(self, layers: slice) -> "Side":
        """The heads of some layers in a row."""
        return Side(self.outer[layers].flatten(0, 1).contiguous(), self.other[layers].flatten(0, 1))


@checked
def composition_scores(
    w: TransformerWeights, kind: Kind, offsets: int | Sequence[int] | None = None
) -> Float[Tensor, "layer head layer head"]:
    """Scores `[earlier layer, head, later layer, head]`; NaN where the first layer is not the earlier.

    A head whose weights are zero composes with nobody: 0. With rotary positions Q- and K-composition exist for each
    offset = dest - src separately: several `offsets` give the root mean square over them.
    Raises `InputError` for another kind, for weights that are not finite, or for rotary positions without offsets.
    """
    w = widened(w)
    return pair_scores(writing(w), reading(w, kind, checked_offsets(w, kind, offsets)))


@checked
def composition_by_offset(
    w: TransformerWeights, kind: Kind, offsets: int | Sequence[int]
) -> Float[Tensor, "offset layer head layer head"]:
    """`composition_scores` at each offset = dest - src; where nothing depends on it, the same for all."""
    w, chosen = widened(w), (offsets,) if isinstance(offsets, int) else tuple(offsets)
    checked_offsets(w, kind, chosen)
    if not needs_offset(w, kind):
        return pair_scores(writing(w), reading(w, kind, (0,))).expand(len(chosen), *[-1] * 4)
    return torch.stack([pair_scores(writing(w), reading(w, kind, (offset,))) for offset in chosen])


def writing(w: TransformerWeights) -> Side:
    """OV of all heads, by what they write."""
    return Side(w.W_O, w.W_V)


def reading(w: TransformerWeights, kind: Kind, offsets: Sequence[int]) -> Side:
    """M^T of all heads, by what they read; for several offsets, all M^T / ||M|| on top of each other."""
    if kind == "V":
        return Side(w.W_V.mT, w.W_O.mT)
    reads, other = (w.W_Q, w.W_K) if kind == "Q" else (w.W_K, w.W_Q)
    if w.rotary_base is None:
        return Side(reads.mT, other)
    turned = [other @ (w.rotation(o).mT if kind == "Q" else w.rotation(o)) for o in offsets]
    if len(turned) == 1:
        return Side(reads.mT, turned[0])
    sizes = [torch.linalg.matrix_norm(Side(reads.mT, each).rows(), keepdim=True) for each in turned]
    unit = [each / size.clamp_min(torch.finfo(w.dtype).tiny) for each, size in zip(turned, sizes, strict=True)]
    return Side(reads.mT, triangular(torch.cat(unit, dim=-2)))


def left_factors(w: TransformerWeights) -> Float[Tensor, "layer head row d_model"]:
    """OV up to an orthogonal map on its left."""
    return writing(w).rows()


def right_factors(
    w: TransformerWeights, kind: Kind, offsets: Sequence[int]
) -> Float[Tensor, "layer head d_model column"]:
    """M up to an orthogonal map on its right; for several offsets, all M / ||M|| side by side, of the same Gram."""
    return reading(w, kind, offsets).rows().mT


def pair_scores(left: Side, right: Side) -> Float[Tensor, "layer head layer head"]:
    """||L R^T||_F / (||L||_F ||R||_F) of every matrix of a layer with those of later layers; 0 where one is 0."""
    n_layers, n_heads = left.outer.shape[:2]
    if n_layers < 2:
        return left.outer.new_full((n_layers, n_heads, n_layers, n_heads), float("nan"))
    return placed(squared_scores(left.flat(slice(0, -1)), right.flat(slice(1, None)), n_heads).sqrt(), n_heads)


def placed(values: Float[Tensor, "early late"], n_heads: int) -> Float[Tensor, "layer head layer head"]:
    """Values of all but the last layer's heads with all but the first's, at their places; NaN where no pair is."""
    n = len(values) // n_heads
    found = values.new_full((n + 1, n_heads, n + 1, n_heads), float("nan"))
    values = values.reshape(n, n_heads, n, n_heads)
    for earlier in range(n):
        found[earlier, :, earlier + 1 :] = values[earlier, :, earlier:]
    return found


def squared_scores(writes: Side, reads: Side, n_heads: int) -> Float[Tensor, "early late"]:
    """||L R^T||² / (||L||² ||R||²), by Gram matrices or by the products, whichever takes fewer multiplications.

    Both hold layers of `n_heads` heads, the reading ones from one layer further on. Where the reading head is not in a
    later layer nothing meaningful stands.
    """
    layers = torch.arange(len(writes.outer), device=writes.outer.device) // n_heads
    later = layers[:, None] <= layers
    if writes.outer.shape[-1] >= 2 * writes.outer.shape[1] * reads.outer.shape[1]:
        return multiplied(writes, reads, later)
    sides = (writes, reads)
    inner = [each.other.mT @ each.other for each in sides]
    heavy = [S @ each.outer for S, each in zip(inner, sides, strict=True)]
    sizes = [(each.outer * weighted).sum((1, 2)) for each, weighted in zip(sides, heavy, strict=True)]
    if any(bool((size < CANCELS * typical(each)).any()) for size, each in zip(sizes, sides, strict=True)):
        return multiplied(writes, reads, later)
    for weighted, size in zip(heavy, sizes, strict=True):
        weighted /= size.where(size > 0, 1.0)[:, None, None]
    squares = by_grams(writes.outer, heavy[0], reads.outer, heavy[1], n_heads)
    if not bool((later & (squares < CANCELS)).any()):  # a Gram matrix of trace 1 has at most norm 1
        return squares
    mixed = [weighted @ each.outer.mT for each, weighted in zip(sides, heavy, strict=True)]
    norms = [(each * each.mT).sum((1, 2)).sqrt() for each in mixed]
    small = later & (squares < CANCELS * torch.outer(norms[0], norms[1]))
    return torch.where(small, multiplied(writes, reads, small), squares)


def typical(side: Side) -> Float[Tensor, " head"]:
    """The squared norm of `other outer` if the two had nothing to do with each other."""
    sizes = [torch.linalg.matrix_norm(each).square() for each in (side.other, side.outer)]
    return sizes[0] * sizes[1] / side.outer.shape[1]


def by_grams(
    writes: Float[Tensor, "early k d_model"],
    heavy_writes: Float[Tensor, "early k d_model"],
    reads: Float[Tensor, "late j d_model"],
    heavy_reads: Float[Tensor, "late j d_model"],
    n_heads: int,
) -> Float[Tensor, "early late"]:
    """Inner products of the Gram matrices, of the first half of the layers with all later ones, and of the second."""
    squares = writes.new_zeros(len(writes), len(reads))
    half = len(writes) // n_heads // 2 * n_heads
    most = max(1, BAND // (writes.shape[-1] * max(1, len(writes), len(reads))))
    both = zip(bands(writes, heavy_writes, most), bands(reads, heavy_reads, most), strict=True)
    for (early, times), (late, _) in both:
        squares[:half].addmm_(early[:half], late.mT, alpha=times)
        squares[half:, half:].addmm_(early[half:], late[half:].mT, alpha=times)
    return squares


def bands(
    outer: Float[Tensor, "head k d_model"], heavy: Float[Tensor, "head k d_model"], most: int
) -> Iterator[tuple[Float[Tensor, "head entry"], int]]:
    """The Gram matrices heavy^T outer, up to `most` rows at a time, each part with how often it counts in a sum: the
    square on the diagonal once, what is right of it twice."""
    height = min(HEIGHT, most)
    for start in range(0, outer.shape[-1], height):
        rows, end = heavy[:, :, start : start + height].mT, start + height
        yield (rows @ outer[:, :, start:end]).flatten(1), 1
        yield (rows @ outer[:, :, end:]).flatten(1), 2


def multiplied(writes: Side, reads: Side, where: Bool[Tensor, "early late"]) -> Float[Tensor, "early late"]:
    """The same from the products themselves, of some pairs; 0 elsewhere."""
    left, right = unit_size(writes.rows()), unit_size(reads.rows())
    squares = left.new_zeros(where.shape)
    for chosen in where.nonzero().split(max(1, BAND // max(left[0].numel(), right[0].numel()))):
        product = left[chosen[:, 0]] @ right[chosen[:, 1]].mT
        squares[chosen[:, 0], chosen[:, 1]] = product.square().sum((1, 2))
    return squares


def unit_size(factors: Float[Tensor, "head row d_model"]) -> Float[Tensor, "head row d_model"]:
    """Divided by their Frobenius norms; what is 0 stays 0."""
    size = torch.linalg.matrix_norm(factors, keepdim=True)
    return factors / size.where(size > 0, 1.0)
