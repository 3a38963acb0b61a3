"""Polynomials in two variables as tables of coefficients, cut at a largest power of each."""

import torch
from jaxtyping import Float
from torch import Tensor


def constant_one(n_x: int, n_y: int) -> Float[Tensor, "x y"]:
    """The polynomial 1; entry [i, j] of a table is the coefficient of x^i y^j; float64."""
    one = torch.zeros(n_x, n_y, dtype=torch.float64)
    one[0, 0] = 1
    return one


def times(tables: Float[Tensor, "*batch x y"], factor: Float[Tensor, "x y"]) -> Float[Tensor, "*batch x y"]:
    """Product of each polynomial with one that has few terms, cut to the same size."""
    n_x, n_y = factor.shape
    result = torch.zeros_like(tables)
    for x, y in factor.nonzero().tolist():
        result[..., x:, y:] += factor[x, y] * tables[..., : n_x - x, : n_y - y]
    return result
