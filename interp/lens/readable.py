"""Where the right answer becomes readable: the first point of the residual stream whose lens knows it."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import InputError
from interp.stats import Estimates
from interp.stats.ratios import resample

Kind = Literal["logit", "tuned", "bias_only"]
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


def first_point(
    kind: Kind,
    points: tuple[str, ...],
    losses: Float[Tensor, "batch point"],
    final_loss: Float[Tensor, " batch"],
    uniform: float,
    generator: torch.Generator,
    margin: float = MARGIN,
    level: float = 0.95,
) -> Readable:
    """The first point whose loss lies within `margin` of the gap between the uniform and the model's own loss.

    Shares are resampled as a whole over sequences; the interval of the point runs from `earliest` to `latest`. A model
    whose own loss cannot be told from, or is above, that of the uniform prediction has nothing to read. Raises
    `InputError` for a margin outside 0..1.
    """
    if not 0 < margin < 1:
        raise InputError(f"margin is a share of the gap between uniform and final loss, 0 to 1, got {margin}")
    gap = (uniform - final_loss).double().cpu()
    draws = resample(len(gap), generator, level)
    if float(gap.mean()) <= 0 or not draws.can_divide_by(gap):
        reason = "the model's own loss is not surely below that of the uniform prediction: there is nothing to read"
        return Readable(kind, margin, None, None, None, None, reason)
    share = draws.ratio((uniform - losses).double().cpu(), gap)
    enough = 1 - margin

    def first(values: Tensor) -> str | None:
        return next((p for p, v in zip(points, values.tolist(), strict=True) if v >= enough), None)

    point = first(share.mean)
    reason = "" if point else f"no point closes {enough:.2g} of the gap"
    return Readable(kind, margin, point, first(share.high), first(share.low), share, reason)
