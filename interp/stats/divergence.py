"""How far one probability distribution is from another, and what guessing the wrong one costs."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import InputError

DivergenceKind = Literal["kl", "reverse kl", "jensen-shannon", "total variation"]
TOLERANCE = 1e-4
"""Probabilities may sum to 1 give or take this much, which float32 needs for large vocabularies."""


def divergence(
    p: Float[Tensor, "*#batch outcome"], q: Float[Tensor, "*#batch outcome"], kind: DivergenceKind = "kl"
) -> Float[Tensor, "*#batch"]:
    """How far q is from p, in nats (total variation: a share).

        kl               KL(p || q) = sum p log(p / q)                 >= 0, 0 only if p = q; infinite where q misses p
        reverse kl       KL(q || p)
        jensen-shannon   KL(p || m)/2 + KL(q || m)/2,  m = (p + q)/2   symmetric, at most log 2; its root is a metric
        total variation  sum |p - q| / 2                               symmetric, at most 1; a metric

    Leading axes broadcast. (Cover & Thomas, Elements of Information Theory, ch. 2; Lin 1991.) Raises `InputError` for
    values that are no probabilities, or another number of outcomes.
    """
    check_distributions(p=p, q=q)
    if kind == "kl":
        return _relative_entropy(p, q)
    if kind == "reverse kl":
        return _relative_entropy(q, p)
    if kind == "total variation":
        return (p - q).abs().sum(-1) / 2
    middle = (p + q) / 2
    return (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2


def entropy(p: Float[Tensor, "*batch outcome"]) -> Float[Tensor, "*batch"]:
    """H(p) = - sum p log p, in nats; `InputError` for values that are no probabilities."""
    check_distributions(p=p)
    return -torch.xlogy(p, p).sum(-1)


def cross_entropy(p: Float[Tensor, "*#batch outcome"], q: Float[Tensor, "*#batch outcome"]) -> Float[Tensor, "*#batch"]:
    """H(p, q) = - sum p log q = H(p) + KL(p || q), in nats; `InputError` for values that are no probabilities."""
    check_distributions(p=p, q=q)
    return -torch.xlogy(p, q).sum(-1)


def gaussian_kl(
    mean: Float[Tensor, "*batch unit"],
    std: Float[Tensor, "*batch unit"],
    other_mean: Float[Tensor, "*batch unit"],
    other_std: Float[Tensor, "*batch unit"],
) -> Float[Tensor, "*batch"]:
    """KL(N(mean, std²) || N(other_mean, other_std²)) of independent normals, in nats, summed over units.

        sum log(s' / s) + (s² + (m - m')²) / (2 s'²) - 1/2

    Raises `InputError` for standard deviations that are not above 0.
    """
    if bool((std <= 0).any()) or bool((other_std <= 0).any()):
        raise InputError(f"standard deviations must be above 0, got {float(min(std.min(), other_std.min())):g}")
    ratio = other_std / std
    apart = (mean - other_mean) / other_std
    return (ratio.log() + (ratio**-2 + apart.square() - 1) / 2).sum(-1)


def check_distributions(**named: Tensor) -> None:
    """`InputError` naming the first that has negative entries, does not sum to 1, or has other outcomes."""
    outcomes = {name: value.shape[-1] for name, value in named.items()}
    if len(set(outcomes.values())) > 1:
        raise InputError(f"distributions must have the same outcomes, got {outcomes}")
    for name, value in named.items():
        if not bool((value >= 0).all()):
            raise InputError(f"{name} must be probabilities, 0 or above, got {float(value.min()):g}: use softmax")
        off = float((value.sum(-1) - 1).abs().max())
        if not off <= TOLERANCE:
            raise InputError(f"{name} must sum to 1 over its last axis, is off by up to {off:g}: divide by the sum")


def _relative_entropy(p: Tensor, q: Tensor) -> Tensor:
    return torch.where(p > 0, p * (p / q).log(), 0.0).sum(-1)
