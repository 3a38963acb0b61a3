"""What claims read off a trained transformer: where it looks, what it composes, what its stream already says."""

import copy
import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from analyses.claims.claim import Row
from interp import names
from interp.circuits import qk
from interp.composition import composition_scores
from interp.hooks import record
from interp.lens import logit_lens
from interp.norms import direct_effects, read_scales, removed_effects
from interp.weights import weights_of
from toy_models.transformer import Transformer

NEAR = 3
"""Positions back that count as near."""
LATE = 12
"""First query that is looked at: from there on, near keys are few among all."""
SMALL = 1e-3
"""An entry below this share of a matrix's root mean square counts as 0."""


@dataclass(frozen=True, eq=False)
class Look:
    """What a model is looked at with: sequences, the tokens that context predicts, and draws for intervals."""

    tokens: Int[Tensor, "batch pos"]
    scored: Bool[Tensor, "batch pos"]
    generator: torch.Generator


def attention_by_distance(model: Transformer, start: Transformer, look: Look) -> Row:
    """Mean attention of the first layer's heads by distance, before and after training, and of even attention."""
    pattern = names.pattern_name(0)
    n, row = look.tokens.shape[1], Row()
    even = torch.ones(n, n).tril() / torch.arange(1, n + 1)[:, None]
    patterns = {
        "": record(model, look.tokens, names=pattern)[pattern].mean((0, 1)).cpu(),
        " before training": record(start, look.tokens, names=pattern)[pattern].mean((0, 1)).cpu(),
        ", even": even,
    }
    for when, mean in patterns.items():
        at = [mean.diagonal(-distance)[LATE - distance :].mean() for distance in range(LATE)]
        row[f"by distance{when}"] = [float(each) for each in at]
        row[f"near{when}"] = float(torch.stack(at[1 : NEAR + 1]).sum())
    return row | {"distance": [float(distance) for distance in range(LATE)]}


def compositions(model: Transformer) -> Row:
    """The strongest composition of each kind between the layers, above that of random weights (1 / sqrt(d_model))."""
    w = weights_of(model)
    row: Row = {}
    for kind in ("Q", "K", "V"):
        scores = composition_scores(w, kind)[0, :, 1]
        row[f"{kind}-composition"] = float(scores.max()) - 1 / math.sqrt(w.d_model)
    return row


def low_rank(model: Transformer) -> Row:
    """Singular value d_head + 1 of the heads' W_Q W_K^T, their entries that are about 0, and multiplications saved."""
    w = weights_of(model, dtype=torch.float64)
    circuits = qk(w)
    dense = (circuits.A @ circuits.B).flatten(0, 1)
    generator = torch.Generator().manual_seed(len(dense))
    full = torch.randn(dense.shape, generator=generator, dtype=torch.float64).to(dense.device)
    n, d, h = w.n_ctx, w.d_model, w.d_head
    return {
        "beyond d_head": beyond(dense, h),
        "beyond d_head, full rank": beyond(full, h),
        "about 0": about_zero(dense),
        "about 0, full rank": about_zero(full),
        "multiplied out": float(n * d * d + n * n * d),
        "factored": float(2 * n * d * h + n * n * h),
    }


def beyond(matrices: Float[Tensor, "head d d"], rank: int) -> float:
    """The largest singular value behind the first `rank` of any of them, as a share of its first."""
    values = torch.linalg.svdvals(matrices)
    return float((values[:, rank] / values[:, 0]).max())


def about_zero(matrices: Float[Tensor, "head d d"]) -> float:
    """Share of the entries below `SMALL` of their matrix's root mean square."""
    size = matrices.square().mean((1, 2), keepdim=True).sqrt()
    return float((matrices.abs() < SMALL * size).double().mean())


def lens_readings(model: Transformer, look: Look) -> Row:
    """By the logit lens before the last layer's attention and before its MLP: nats of the right token above chance, and
    how much of the model's own prediction is there already; the same with the model's layers in reverse order."""
    reversed_model = copy.deepcopy(model)
    reversed_model.blocks = torch.nn.ModuleList(list(reversed_model.blocks)[::-1])
    last = len(model.blocks) - 1
    points = {"the last layer": names.resid_post_name(last - 1), "the last MLP": names.resid_mid_name(last)}
    row: Row = {}
    for order, each in (("", model), (", layers shuffled", reversed_model)):
        lens = logit_lens(each, look.tokens, look.generator, look.scored)
        said = dict(zip(lens.points, range(len(lens.points)), strict=True))
        for where, point in points.items():
            row[f"nats before {where}{order}"] = lens.uniform_loss - float(lens.loss.mean[said[point]])
            kl = float(lens.kl.mean[said[point]]) / float(lens.uniform_kl.mean)
            row[f"agreement before {where}{order}"] = 1 - kl
        row[f"KL by depth{order}"] = lens.kl.mean.tolist()
    return row | {"depth": [float(i) for i in range(len(lens.points))]}


def scale_effects(model: Transformer, look: Look) -> Row:
    """Effect of the head that matters most, with scales held and free: direct, and through later layers; and the share
    of what the unembedding reads that one constant scale misses, beside the scale of the first read."""
    direct = direct_effects(model, look.tokens, look.generator, look.scored)
    removed = removed_effects(model, look.tokens, look.scored, look.generator)
    of_heads = [i for i, name in enumerate(direct.components) if "H" in name]
    first = max(of_heads, key=lambda i: float(direct.free.mean[i]))
    most = int(removed.free.mean.flatten().argmax())
    scales = read_scales(model, look.tokens, look.generator)
    other = scales.values[0].mean()
    return {
        "direct, free": float(direct.free.mean[first]),
        "direct, held": float(direct.held.mean[first]),
        "removed, free": float(removed.free.mean.flatten()[most]),
        "removed, held": float(removed.held.mean.flatten()[most]),
        "missed by one scale": float(scales.missed.mean[-1]),
        "missed by the first read's scale": float((scales.values[-1] / other - 1).square().mean()),
    }
