"""Rotary positions, one position at a time."""

import torch
from jaxtyping import Float
from torch import Tensor

from interp.weights.view import TransformerWeights


def rotated(w: TransformerWeights, x: Float[Tensor, "*rest pos d_head"]) -> Float[Tensor, "*rest pos d_head"]:
    """x R(pos): the pairs of numbers of `w.pairs()` at position p turn by p * `w.frequencies()`; x without rotary.

    q R(i) (k R(j))^T = q R(i - j) k^T, with R as in `TransformerWeights.rotation` (Su et al. 2021, arXiv:2104.09864).
    """
    if w.rotary_base is None:
        return x
    first, second = w.pairs()
    angles = torch.arange(x.shape[-2], dtype=torch.float64)[:, None] * w.frequencies()
    cos, sin = angles.cos().to(x), angles.sin().to(x)
    one, other = x[..., first], x[..., second]
    turned = x.clone()
    turned[..., first], turned[..., second] = one * cos - other * sin, one * sin + other * cos
    return turned
