"""Where the right answer becomes readable: the first point of the residual stream, and the heads that bring it."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from interp import names
from interp.errors import InputError
from interp.lens.by_depth import readings_at
from interp.lens.seen import seen
from interp.lens.tuned import TunedLens, at_least_float32, check_held_out
from interp.lens.tuned_held_out import HeldOut, Kind
from interp.stats import Estimates, bootstrap_intervals
from interp.stats.ratios import resample
from interp.weights import weights_of

MARGIN = 0.1


@dataclass(frozen=True, eq=False)
class Readable:
    """The first point whose loss closes all but `margin` of the gap between the uniform prediction and the model."""

    kind: Kind
    margin: float
    point: str | None
    """By the mean over sequences; None where nothing is readable, `reason` says why."""
    earliest: str | None
    """The first whose share may be enough: its interval reaches 1 - margin."""
    latest: str | None
    """The first whose share surely is enough: its interval lies at or above 1 - margin."""
    share: Estimates | None
    """(uniform loss - loss) / (uniform loss - the model's loss), [point]; None where the model gains nothing."""
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        fields = ("kind", "margin", "point", "earliest", "latest", "reason")
        share = None if self.share is None else self.share.to_dict()
        return {name: getattr(self, name) for name in fields} | {"share": share}


def first_readable(
    held: HeldOut, generator: torch.Generator, kind: Kind = "tuned", margin: float = MARGIN, level: float = 0.95
) -> Readable:
    """The first point where held-out loss is within `margin` of the gap between uniform and final loss.

    Shares are resampled as a whole over sequences; the interval of the point runs from `earliest` to `latest`. A model
    whose own loss cannot be told from, or is above, that of the uniform prediction has nothing to read. Raises
    `InputError` for a margin outside 0..1.
    """
    if not 0 < margin < 1:
        raise InputError(f"margin is a share of the gap between uniform and final loss, 0 to 1, got {margin}")
    uniform = held.logit.uniform_loss
    gap = (uniform - held.final_loss).double().cpu()
    draws = resample(len(gap), generator, level)
    if float(gap.mean()) <= 0 or not draws.can_divide_by(gap):
        reason = "the model's own loss is not surely below that of the uniform prediction: there is nothing to read"
        return Readable(kind, margin, None, None, None, None, reason)
    share = draws.ratio((uniform - held.losses_of(kind)).double().cpu(), gap)
    enough = 1 - margin

    def first(values: Tensor) -> str | None:
        return next((p for p, v in zip(held.tuned.points, values.tolist(), strict=True) if v >= enough), None)

    point = first(share.mean)
    reason = "" if point else f"no point closes {enough:.2g} of the gap"
    return Readable(kind, margin, point, first(share.high), first(share.low), share, reason)


@dataclass(frozen=True, eq=False)
class BroughtBy:
    """How much the tuned lens at a point loses without what a head wrote there."""

    point: str
    heads: tuple[names.Head, ...]
    """Those whose output is part of the residual stream at the point."""
    loss: Estimates
    """Rise of held-out loss, nats, [head], paired by sequence."""

    def ranked(self) -> list[int]:
        """Indices into `heads`, the largest rise first."""
        return self.loss.mean.argsort(descending=True).tolist()

    def to_dict(self) -> dict[str, Any]:
        return {"point": self.point, "heads": [str(head) for head in self.heads], "loss": self.loss.to_dict()}


def brought_by(
    lens: TunedLens,
    model: nn.Module,
    tokens: Int[Tensor, "batch pos"],
    point: str,
    generator: torch.Generator,
    scored: Bool[Tensor, "sample position"] | None = None,
    level: float = 0.95,
) -> BroughtBy:
    """The rise of the tuned lens' loss at `point` when one head's output there is replaced by its mean.

    The output z W_O of the head is taken out of the sum that the residual stream is, and its mean over the scored
    predictions of these sequences put in (a translator counts on the mean; what tells sequences apart is gone). Only
    what the head wrote itself is judged, not what later heads made of it. Heads that share the work each show a part of
    it or none. Raises `InputError` for sequences that the lens was trained on, and where no head comes before `point`.
    """
    check_held_out(lens, tokens)
    w = weights_of(model, fold=False)
    layers = layers_before(point)
    if not layers:
        raise InputError(f"no head writes before {point}; name a later point")
    found = at_least_float32(
        seen(model, tokens, (point,), scored, tuple(names.z_name(layer) for layer in range(layers)))
    )
    assert found.heads is not None
    heads = tuple(names.Head(layer, index) for layer in range(layers) for index in range(w.n_heads))
    share = found.weight / len(found.weight)

    def loss(x: Tensor) -> Tensor:
        logits = lens.logits(found.weights, point, x)
        return readings_at(logits, found.final, found.target, found.weight)[:, 0]

    intact = loss(found.residual[0])
    rises = []
    for layer, index in heads:
        written = found.heads[:, :, layer, index].to(found.final) @ found.weights.W_O[layer, index]
        mean = torch.einsum("bp,bpm->m", share, written)
        rises.append(loss(found.residual[0] - written + mean) - intact)
    return BroughtBy(point, heads, bootstrap_intervals(torch.stack(rises, 1), generator, level))


def layers_before(point: str) -> int:
    """How many layers' heads have written into the residual stream at a point."""
    parts = point.split(".")
    if len(parts) < 3:
        return 0
    return int(parts[1]) + (parts[2] != "hook_resid_pre")
