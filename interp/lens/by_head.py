"""What each head brings at its own layer: how much better the logit lens knows the right token for what it wrote."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from einops import einsum
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from interp import names
from interp.ablation.losses import device_of
from interp.errors import InputError
from interp.heads.scores import HeadScores, head_scores
from interp.lens.by_depth import lens_logits, residual_points
from interp.lens.readable import Readable, first_point
from interp.lens.seen import Seen, seen
from interp.stats import Estimates, bootstrap_intervals
from interp.weights import TransformerWeights, weights_of

OTHERS, FRESH = "other heads of its layer", "fresh tokens"


@dataclass(frozen=True, eq=False)
class LensByHead:
    """The logit lens before and after each layer's heads, and with single heads silenced; scored predictions only."""

    points: tuple[str, ...]
    readable: Readable
    before: Estimates
    """Log-probability of the right token in front of each layer's heads, nats, [layer]."""
    after: Estimates
    """The same right behind them (and in front of the layer's MLP)."""
    rise: Estimates
    """After minus before, paired by sequence."""
    rises: Float[Tensor, "batch layer"]
    brought: HeadScores
    """What is lost behind the layer where a head writes its mean instead, nats."""
    alone: HeadScores
    """What the head brings by itself: all other heads of the layer write their means. Heads that do the same work
    bring much alone, and little beside each other."""

    def to_dict(self) -> dict[str, Any]:
        layers = {name: getattr(self, name).to_dict() for name in ("before", "after", "rise")}
        heads = {"brought": self.brought.to_dict(), "alone": self.alone.to_dict()}
        return {"points": list(self.points), "readable": self.readable.to_dict(), **layers, **heads}


@torch.no_grad()
def lens_by_head(
    model: nn.Module,
    tokens: Int[Tensor, "batch pos"],
    generator: torch.Generator,
    scored: Bool[Tensor, "batch pos"] | None = None,
    fresh: Int[Tensor, "row position"] | None = None,
    *,
    protocol: str = "the given tokens",
    level: float = 0.95,
) -> LensByHead:
    """ln p(next token) by the logit lens behind each layer's heads, intact and with heads replaced by their mean:

        brought = ln p(x) - ln p(x - w_h + mean w_h),   alone = ln p(x - sum_g≠h (w_g - mean w_g)) - ln p(all means)

    where x is the residual stream there and w_h = z_h W_O what head h wrote; means are over the scored predictions of
    these sequences. `scored` as in `logit_lens`. Only what a head wrote itself is judged, at its own layer, not what
    later heads make of it. The nulls are the mean of the other heads of the layer and, with `fresh` (as many sequences
    of as many tokens, which do not repeat), the same at the same positions there.
    Raises `InputError` for fewer than two sequences with a scored position, and fresh tokens of another shape.
    """
    if fresh is not None and fresh.shape != tokens.shape:
        raise InputError(f"fresh tokens must have the tokens' shape {list(tokens.shape)}, got {list(fresh.shape)}")
    w, device = weights_of(model, fold=False), device_of(model)
    points = residual_points(w)
    z_names = tuple(names.z_name(layer) for layer in range(w.n_layers))
    found = seen(model, tokens.to(device), points, scored, z_names)
    losses = torch.stack([_loss(found, x) for x in found.residual], dim=1)
    around = [(points.index(before_heads(w, i)), points.index(after_heads(points, i))) for i in range(w.n_layers)]
    before, after = (-torch.stack([losses[:, pair[side]] for pair in around], dim=1) for side in (0, 1))
    brought, alone = _by_head(w, found, [pair[1] for pair in around])
    nulls: list[dict[str, Tensor]] = [{}, {}]
    if w.n_heads > 1:
        for null, values in zip(nulls, (brought, alone), strict=True):
            null[OTHERS] = (values.sum(-1, keepdim=True) - values) / (w.n_heads - 1)
    if fresh is not None:
        there = seen(model, fresh.to(device), points, scored, z_names)
        for null, values in zip(nulls, _by_head(w, there, [pair[1] for pair in around]), strict=True):
            null[FRESH] = values
    own = -(found.final.gather(-1, found.target[..., None])[..., 0] * found.weight).sum(1)

    def scores(name: str, description: str, values: Tensor, null: dict[str, Tensor]) -> HeadScores:
        about: dict[str, Any] = {"protocol": protocol, "unit": "nats", "maximum": None, "nulls": null, "level": level}
        return head_scores(name, description, values, generator, **about)

    return LensByHead(
        points,
        first_point("logit", points, losses, own, math.log(w.d_vocab), generator, level=level),
        bootstrap_intervals(before, generator, level),
        bootstrap_intervals(after, generator, level),
        bootstrap_intervals(after - before, generator, level),
        after - before,
        scores("brought", "log-probability of the right token lost behind its layer without it", brought, nulls[0]),
        scores("alone", "log-probability of the right token that it brings alone of its layer", alone, nulls[1]),
    )


def before_heads(w: TransformerWeights, layer: int) -> str:
    """The point in front of a layer's heads, by its first name."""
    if layer:
        return names.resid_post_name(layer - 1)
    return names.embed_name() if w.W_pos is None else names.resid_pre_name(0)


def after_heads(points: tuple[str, ...], layer: int) -> str:
    """The point right behind a layer's heads; behind its MLP too where that runs beside them."""
    mid = names.resid_mid_name(layer)
    return mid if mid in points else names.resid_post_name(layer)


def _loss(found: Seen, x: Float[Tensor, "batch predicting d_model"]) -> Float[Tensor, " batch"]:
    """Mean over the scored predictions of each sequence, on the CPU."""
    log_p = lens_logits(found.weights, x).double().log_softmax(-1)
    return -(log_p.gather(-1, found.target[..., None])[..., 0] * found.weight).sum(1).cpu()


def _by_head(
    w: TransformerWeights, found: Seen, behind: list[int]
) -> tuple[Float[Tensor, "batch layer head"], Float[Tensor, "batch layer head"]]:
    """What each head brings beside the others of its layer, and alone."""
    assert found.heads is not None
    share, layers = found.weight / len(found.weight), []
    for layer, point in enumerate(behind):
        written = einsum(found.heads[:, :, layer], w.W_O[layer], "b p head d, head d m -> head b p m")
        spoken = written - einsum(share, written, "b p, head b p m -> head m")[:, None, None]
        x = found.residual[point]
        silent = x - spoken.sum(0)
        intact, nothing = _loss(found, x), _loss(found, silent)
        without = torch.stack([_loss(found, x - each) - intact for each in spoken], dim=-1)
        alone = torch.stack([nothing - _loss(found, silent + each) for each in spoken], dim=-1)
        layers.append((without, alone))
    brought, alone = (torch.stack(each, dim=1) for each in zip(*layers, strict=True))
    return brought, alone
