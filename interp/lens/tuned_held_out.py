"""What the tuned lens reads on sequences that it was not trained on, beside the logit lens and a bias-only control."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from interp.errors import InputError
from interp.lens.by_depth import LogitLens, lens_logits, lens_readings, summary
from interp.lens.readable import Kind
from interp.lens.seen import seen
from interp.lens.tuned import TunedLens, at_least_float32, check_held_out
from interp.stats import Estimates, bootstrap_intervals

KINDS: tuple[Kind, ...] = ("logit", "tuned", "bias_only")


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Three lenses on the same held-out sequences; each brings the uniform prediction and shuffled targets."""

    logit: LogitLens
    tuned: LogitLens
    bias_only: LogitLens
    gain: Estimates
    """Loss of the logit lens less that of the tuned lens, nats, [point], paired by sequence."""
    gain_over_bias: Estimates
    """Loss of the bias-only control less that of the tuned lens, nats, [point], paired by sequence."""
    losses: Float[Tensor, "lens batch point"]
    """Loss of each sequence, in the order logit, tuned, bias_only."""
    final_loss: Float[Tensor, " batch"]
    """The model's own."""

    def losses_of(self, kind: Kind) -> Float[Tensor, "batch point"]:
        return self.losses[KINDS.index(kind)]

    def to_dict(self) -> dict[str, Any]:
        names = (*KINDS, "gain", "gain_over_bias")
        return {name: getattr(self, name).to_dict() for name in names} | {"n": len(self.final_loss)}


def held_out(
    lens: TunedLens,
    model: nn.Module,
    tokens: Int[Tensor, "batch pos"],
    generator: torch.Generator,
    scored: Bool[Tensor, "sample position"] | None = None,
    level: float = 0.95,
) -> HeldOut:
    """Loss, KL, probability and rank at the lens' points, means over sequences with bootstrap intervals.

    `scored` as in `logit_lens`. Raises `InputError` for sequences that the lens was trained on, a model of another
    width, and fewer than two sequences with a scored position.
    """
    check_held_out(lens, tokens)
    found = at_least_float32(seen(model, tokens, lens.points, scored))
    w = found.weights
    if w.d_model != len(lens.full[0].b):
        raise InputError(f"the lens was trained at d_model {len(lens.full[0].b)}, this model has {w.d_model}")
    pairs = list(zip(lens.points, found.residual, strict=True))
    readings = {
        "logit": lens_readings(found, (lens_logits(w, x) for _, x in pairs)),
        "tuned": lens_readings(found, (lens.logits(w, point, x) for point, x in pairs)),
        "bias_only": lens_readings(found, (lens.logits(w, point, x, bias_only=True) for point, x in pairs)),
    }
    lenses = {kind: summary(found, each, generator, level) for kind, each in readings.items()}
    losses = torch.stack([readings[kind][..., 0] for kind in KINDS])
    final_loss = -(found.final.gather(-1, found.target[..., None])[..., 0] * found.weight).sum(1)
    gain, over_bias = (bootstrap_intervals(losses[other] - losses[1], generator, level) for other in (0, 2))
    return HeldOut(**lenses, gain=gain, gain_over_bias=over_bias, losses=losses, final_loss=final_loss)
