"""p-values of composition scores: counted among draws, and by the closed-form law where draws run out."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.composition.law import RotationLaw

COUNTED = 30
"""Draws at least as extreme from which counting alone decides."""
SMALLEST = 1e-300


def rotation_p_values(
    scores: Float[Tensor, "early head late other"],
    law: RotationLaw,
    draws: Float[Tensor, "draw early head late other"],
    rounding: float,
) -> tuple[Float[Tensor, "early head late other"], Float[Tensor, "early head late other"]]:
    """P(at least the score) and P(at most the score) when a Haar rotation stands between the two matrices.

    (1 + b) / (1 + n) for b of n draws at least as extreme, which is exact, where b reaches `COUNTED` (or n / 20, if
    that is less). Further out, that of the last draw so counted, times the ratio of the law's tails there and here:
    the law has the first three moments exactly and, in the limit of large d_model, the spectra's own tails. With fewer
    than 20 draws it stands alone. Scores that differ by `rounding`, relatively, count as equal. 1 where spectra leave
    nothing to rotate; NaN where there is no pair or a matrix is 0.
    """
    empty = (law.left.sum(-1) <= 0)[:, :, None, None] | (law.right.sum(-1) <= 0)
    tested = ~(scores.isnan() | empty)
    fixed = law.variance.sqrt() <= 1e-7 / law.d_model  # rounding in p2(a) alone
    vary = tested & ~fixed
    tails = []
    for upper in (True, False):
        p = torch.full_like(scores, float("nan"), dtype=torch.float64)
        p[tested] = 1.0
        p[vary] = tail(scores[vary].double(), law, draws[:, vary].double(), vary, upper, rounding)
        tails.append(p)
    return tails[0], tails[1]


def tail(
    scores: Float[Tensor, " pair"],
    law: RotationLaw,
    draws: Float[Tensor, "draw pair"],
    where: Bool[Tensor, "early head late other"],
    upper: bool,
    rounding: float,
) -> Float[Tensor, " pair"]:
    """One tail's p-values of the pairs of `where`."""
    n, at = len(draws), where.nonzero().unbind(1)
    if upper:
        extreme = (draws >= scores * (1 - rounding)).sum(0)
    else:
        extreme = (draws <= scores * (1 + rounding)).sum(0)
    p = (1 + extreme.double()) / (1 + n)
    last = min(COUNTED, n // 20)
    far = extreme < last if last else torch.ones_like(extreme, dtype=torch.bool)
    chosen = (at[0][far], at[1][far], at[2][far], at[3][far])
    beyond = law.log_tails(scores[far].square(), chosen)[0 if upper else 1]
    if last:
        edge = draws[:, far].topk(last, dim=0, largest=upper).values[-1]
        counted = law.log_tails(edge.square(), chosen)[0 if upper else 1]
        beyond = (beyond - counted).clamp_max(0) + math.log((1 + last) / (1 + n))
    p[far] = beyond.exp().clamp_min(SMALLEST)
    return p
