"""How alike two representations of the same inputs are, whatever basis each is written in."""

from jaxtyping import Float
from torch import Tensor

from interp.errors import InputError


def linear_cka(x: Float[Tensor, "n *d_x"], y: Float[Tensor, "m *d_y"]) -> float:
    """Linear centred kernel alignment (Kornblith et al. 2019, arXiv:1905.00414): ||YᵀX||² / (||XᵀX|| ||YᵀY||).

    X and Y are [n d], centred over the n inputs, everything but the inputs flattened; norms are Frobenius. 1 for
    representations that differ by a rotation and a factor. Unrelated ones do not give 0 but about d/n for d numbers
    per input below n (say what shuffled inputs give beside it). Raises `InputError` for different numbers of inputs,
    and for values that do not vary or are not finite.
    """
    if len(x) != len(y) or len(x) < 2:
        raise InputError(f"similarity needs the same two or more inputs on both sides, got {len(x)} and {len(y)}")
    grams = [_centred_gram(each) for each in (x, y)]
    norms = [float(gram.norm()) for gram in grams]
    if not all(0 < norm < float("inf") for norm in norms):
        raise InputError(f"values must be finite and vary over inputs, got kernels of norm {norms[0]} and {norms[1]}")
    return float((grams[0] * grams[1]).sum()) / (norms[0] * norms[1])


def _centred_gram(x: Tensor) -> Float[Tensor, "n n"]:
    centred = x.flatten(1).double()
    centred = centred - centred.mean(0)
    gram: Tensor = centred @ centred.T
    return gram
