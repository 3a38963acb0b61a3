"""Tails of weighted sums of gamma variables by saddlepoint, accurate in relative terms far out."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

ITERATIONS = 200
NEAR_MEAN = 1e-3
"""Standard deviations from the mean below which the formula is 0 / 0 and its limit is taken."""


@dataclass(frozen=True, eq=False)
class WeightedSum:
    """X = shift + scale sum_n weights_n G_n with independent G_n ~ Gamma(shape / 2, scale 2), of each pair.

    Shape 1 makes G_n the square of a standard normal variable. Weights are not negative; `scale` may be, which turns
    the law around. Cumulant function: K(t) = shift t - shape / 2 sum_n log(1 - 2 scale weights_n t).
    """

    weights: Float[Tensor, "pair n"]
    shape: Float[Tensor, " pair"]
    scale: Float[Tensor, " pair"]
    shift: Float[Tensor, " pair"]


def log_tails(x: Float[Tensor, " pair"], law: WeightedSum) -> tuple[Float[Tensor, " pair"], Float[Tensor, " pair"]]:
    """log P(X >= x) and log P(X <= x).

        P(X >= x) = Phi(-r),  r = w + log(u / w) / w,  w = sign(t) sqrt(2 (t x - K(t))),  u = t sqrt(K''(t)),  K'(t) = x

    (Lugannani & Rice 1980 in the form of Barndorff-Nielsen 1990). What lies beyond the end of the support counts as
    lying just inside it.
    """
    turned = law.scale < 0
    weights = law.scale.abs()[:, None] * law.weights
    mean = law.shape * weights.sum(-1)
    inside = torch.where(turned, law.shift - x, x - law.shift).maximum(1e-9 * mean)
    t = saddlepoint(inside, weights, law.shape)
    left = 1 - 2 * t[:, None] * weights
    K = -law.shape / 2 * left.log().sum(-1)
    second = 2 * law.shape * (weights / left).square().sum(-1)
    w = t.sign() * (2 * (t * inside - K)).clamp_min(0).sqrt()
    far = w.abs() > NEAR_MEAN
    safe = w.where(far, 1.0)
    correction = (t * second.sqrt() / safe).where(far, 1.0).log() / safe
    skewness = 8 * law.shape * weights.pow(3).sum(-1) / (2 * law.shape * weights.square().sum(-1)).pow(1.5)
    r = w + torch.where(far, correction, skewness / 6)
    above, below = torch.special.log_ndtr(-r), torch.special.log_ndtr(r)
    return torch.where(turned, below, above), torch.where(turned, above, below)


def saddlepoint(
    x: Float[Tensor, " pair"], weights: Float[Tensor, "pair n"], shape: Float[Tensor, " pair"]
) -> Float[Tensor, " pair"]:
    """t with K'(t) = shape sum_n weights_n / (1 - 2 t weights_n) = x > 0, by Newton steps for 1 / K'.

    1 / K' is concave and falls in t, so steps from the right of the solution go to it without passing it. They start
    where the largest weight alone gives x.
    """
    largest = weights.amax(-1)
    t = (1 - shape * largest / x) / (2 * largest)
    for _ in range(ITERATIONS):
        each = weights / (1 - 2 * t[:, None] * weights)
        first, second = shape * each.sum(-1), 2 * shape * each.square().sum(-1)
        step = first * (first - x) / (x * second)
        t = t - step
        if bool((first - x <= 1e-12 * x).all()):
            break
    return t
