"""Where the tuned lens reads the right answer first, and the heads that bring it there."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from interp import names
from interp.errors import InputError
from interp.lens.by_depth import readings_at
from interp.lens.readable import MARGIN, Kind, Readable, first_point
from interp.lens.seen import seen
from interp.lens.tuned import TunedLens, at_least_float32, check_held_out
from interp.lens.tuned_held_out import HeldOut
from interp.stats import Estimates, bootstrap_intervals
from interp.weights import weights_of


def first_readable(
    held: HeldOut, generator: torch.Generator, kind: Kind = "tuned", margin: float = MARGIN, level: float = 0.95
) -> Readable:
    """The first point where held-out loss is within `margin` of the gap between uniform and final loss; `first_point`.

    Raises `InputError` for a margin outside 0..1.
    """
    losses, uniform = held.losses_of(kind), held.logit.uniform_loss
    return first_point(kind, held.tuned.points, losses, held.final_loss, uniform, generator, margin, level)


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
