"""What an attention score's contrast is when the targets mean nothing: keys picked at random, in closed form."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.errors import InputError


def random_targets_deviation(scores: Float[Tensor, "batch dest src"], targets: Bool[Tensor, "batch dest src"]) -> float:
    """Standard deviation of the mean contrast when each query's targets are keys picked at random; its mean is 0.

    Of N allowed keys (src <= dest) k are picked without replacement. With S² the variance of the scores among them,
    the mean of those picked minus the mean of the others has the variance

        S² N / (k (N - k)),    S² with N - 1 below

    Queries are independent, and averaged as in `ScorePaths.contrast`: over those of a sequence that have a target and
    another key, then over sequences. In score units. Raises `InputError` where there is no such query.
    """
    allowed = torch.ones_like(targets).tril()
    picked, keys = (targets & allowed).sum(-1).double(), allowed.sum(-1).double()
    eligible = (picked > 0) & (picked < keys)
    kept = eligible.any(1)
    if not bool(kept.any()):
        raise InputError("no query has a target and another allowed key")
    x = scores.double().masked_fill(~allowed, 0.0)
    mean = x.sum(-1) / keys
    spread = ((x - mean[..., None]).square() * allowed).sum(-1) / (keys - 1).clamp_min(1)
    variance = spread * keys / (picked * (keys - picked)).clamp_min(1)
    weight = eligible / eligible.sum(1, keepdim=True).clamp_min(1) / kept.sum()
    return float((variance * weight.square()).sum().sqrt())
