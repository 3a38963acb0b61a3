"""Rotary positions, one position at a time."""

import torch
from jaxtyping import Float
from torch import Tensor

from interp.weights.view import TransformerWeights


def rotated(w: TransformerWeights, x: Float[Tensor, "*rest pos d_head"]) -> Float[Tensor, "*rest pos d_head"]:
    """x R(pos): the pair (2i, 2i+1) at position p turns by p * rotary_base^(-2i / rotary_dim); x without rotary.

    q R(i) (k R(j))^T = q R(i - j) k^T, with R as in `TransformerWeights.rotation` (Su et al. 2021, arXiv:2104.09864).
    """
    if w.rotary_base is None:
        return x
    turning, rest = x[..., : w.rotary_dim], x[..., w.rotary_dim :]
    pairs = torch.arange(0, w.rotary_dim, 2, dtype=torch.float64)
    angles = torch.arange(x.shape[-2], dtype=torch.float64)[:, None] * w.rotary_base ** (-pairs / w.rotary_dim)
    cos, sin = angles.cos().to(x), angles.sin().to(x)
    even, odd = turning[..., 0::2], turning[..., 1::2]
    turned = torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)
    return torch.cat([turned, rest], dim=-1)
