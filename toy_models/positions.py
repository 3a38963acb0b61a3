"""Positions that are not learned: rotations of queries and keys, and the table of sinusoids."""

import torch
from jaxtyping import Float
from torch import Tensor


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turns the pair (x_2i, x_2i+1) at position p by the angle p * base^(-2i / d_head)."""
    even, odd = x[..., 0::2], x[..., 1::2]
    c, s = cos[: x.shape[1], None], sin[: x.shape[1], None]
    return torch.stack([even * c - odd * s, odd * c + even * s], dim=-1).flatten(-2)


def rotary_angles(n_ctx: int, d_head: int, base: float) -> Float[Tensor, "n_ctx half"]:
    """p * base^(-2i / d_head), in float64."""
    frequency = base ** (-torch.arange(0, d_head, 2, dtype=torch.float64) / d_head)
    return torch.outer(torch.arange(n_ctx, dtype=torch.float64), frequency)


def sinusoids(n_ctx: int, d_model: int) -> Float[Tensor, "n_ctx d_model"]:
    """sin and cos of p * 10000^(-2i / d_model), interleaved (Vaswani et al. 2017, section 3.5)."""
    angles = rotary_angles(n_ctx, d_model, 10000.0)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2).to(torch.get_default_dtype())
