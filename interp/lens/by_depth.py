"""What the residual stream would predict if the model ended early, and which component says what in the end."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from interp import names
from interp.inputs import checked
from interp.lens.seen import Seen, seen
from interp.stats import Estimates, bootstrap_intervals
from interp.weights import TransformerWeights, weights_of


@dataclass(frozen=True)
class LogitLens:
    """Readings at each point of the residual stream: means over sequences of the mean over scored positions."""

    points: tuple[str, ...]
    loss: Estimates
    """Cross-entropy with the token that comes next, nats, [point]."""
    kl: Estimates
    """KL(model's prediction || lens), nats, [point]."""
    probability: Estimates
    """Of the token that comes next, [point]."""
    rank: Estimates
    """Tokens with a higher logit than the one that comes next, [point]; 0 is the best."""
    uniform_loss: float
    """Loss of the uniform prediction, ln d_vocab."""
    uniform_kl: Estimates
    """KL(model's prediction || uniform), []: what `kl` is when the lens says nothing."""
    shuffled_loss: Estimates
    """Loss against the tokens of another sequence, [point]: what is predicted without reading this sequence."""

    @property
    def uniform_probability(self) -> float:
        """Of the token that comes next, by chance: 1 / d_vocab."""
        return math.exp(-self.uniform_loss)

    @property
    def uniform_rank(self) -> float:
        """Of the token that comes next in a random order of the vocabulary: (d_vocab - 1) / 2."""
        return (math.exp(self.uniform_loss) - 1) / 2

    def to_dict(self) -> dict[str, Any]:
        fields = ("loss", "kl", "probability", "rank", "uniform_kl", "shuffled_loss")
        estimates = {name: getattr(self, name).to_dict() for name in fields}
        chance = {name: getattr(self, name) for name in ("uniform_loss", "uniform_probability", "uniform_rank")}
        return {"points": list(self.points)} | chance | estimates


def residual_points(w: TransformerWeights) -> tuple[str, ...]:
    """Hook points of the residual stream in order, each value once (resid_pre of a later layer is the resid_post
    before it; that of the first is the embedding unless positions are added)."""
    points = [names.embed_name()]
    for layer in range(w.n_layers):
        if layer == 0 and w.W_pos is not None:
            points.append(names.resid_pre_name(0))
        if w.W_in is not None and not w.parallel:
            points.append(names.resid_mid_name(layer))
        points.append(names.resid_post_name(layer))
    return tuple(points)


def lens_logits(w: TransformerWeights, residual: Float[Tensor, "*rest d_model"]) -> Float[Tensor, "*rest d_vocab"]:
    """N(residual) W_U + b_U with the model's final normalisation (nostalgebraist 2020, "interpreting GPT").

    The residual stream of a running model is not centred: use weights with `fold=False` when its normalisation is.
    """
    return w.normalise(residual, w.ln_final_w, w.ln_final_b) @ w.W_U + w.b_U


@checked
def logit_lens(
    model: nn.Module,
    tokens: Int[Tensor, "batch pos"],
    generator: torch.Generator,
    scored: Bool[Tensor, "sample position"] | None = None,
    points: tuple[str, ...] | None = None,
    level: float = 0.95,
) -> LogitLens:
    """The logit lens at `points` (default: `residual_points`), beside the uniform prediction and shuffled targets.

    `scored[b, i]` says that the token at position i counts (its prediction stands at i - 1); by default all from
    position 1 on. Intervals are bootstrap intervals over sequences; sequences without a scored position are left out.
    For an untrained baseline run it on an untrained model. Raises `InputError` for fewer than two sequences with a
    scored position.
    """
    points = residual_points(weights_of(model, fold=False)) if points is None else points
    found = seen(model, tokens, points, scored)
    readings = lens_readings(found, (lens_logits(found.weights, x) for x in found.residual))
    return summary(found, readings, generator, level)


def summary(
    found: Seen, readings: Float[Tensor, "batch point reading"], generator: torch.Generator, level: float
) -> LogitLens:
    """Means over sequences with bootstrap intervals, beside the uniform prediction."""
    final, log_v = found.final, math.log(found.final.shape[-1])
    loss, kl, probability, rank, shuffled = (bootstrap_intervals(x, generator, level) for x in readings.unbind(-1))
    uniform_kl = ((final.exp() * final).sum(-1) + log_v).mul(found.weight).sum(1)
    uniform = bootstrap_intervals(uniform_kl, generator, level)
    return LogitLens(found.points, loss, kl, probability, rank, log_v, uniform, shuffled)


def lens_readings(
    found: Seen, logits: Iterable[Float[Tensor, "batch pos d_vocab"]]
) -> Float[Tensor, "batch point reading"]:
    """`readings_at` of the logits of each point."""
    return torch.stack([readings_at(each, found.final, found.target, found.weight) for each in logits], dim=1)


def readings_at(
    logits: Float[Tensor, "batch pos d_vocab"],
    final: Float[Tensor, "batch pos d_vocab"],
    target: Int[Tensor, "batch pos"],
    weight: Float[Tensor, "batch pos"],
) -> Float[Tensor, "batch reading"]:
    """Loss, KL from the final prediction, probability and rank of the target, shuffled loss: means over positions."""
    log_p = logits.log_softmax(-1)
    at_target = log_p.gather(-1, target[..., None])
    others = log_p.gather(-1, target.roll(1, dims=0)[..., None])
    kl = (final.exp() * (final - log_p)).sum(-1)
    rank = (log_p > at_target).sum(-1).to(kl)
    readings = torch.stack([-at_target[..., 0], kl, at_target[..., 0].exp(), rank, -others[..., 0]], dim=-1)
    return (readings * weight[..., None]).sum(1)
