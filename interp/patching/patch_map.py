"""`PatchMap`: what each of many patches does to a metric, as it is and as a share of the whole, beside its control."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.errors import InputError
from interp.patching.runs import Runs
from interp.stats import Estimate, Estimates, bootstrap_interval, bootstrap_intervals
from interp.stats.ratios import Resamples, resample
from interp.stats.scored import without_nan

READING: dict[str, str] = {
    "denoising": "run on the corrupted tokens with clean activations put in; of the share, 1 means that this alone "
    "restores all that the corruption broke, 0 nothing",
    "noising": "run on the clean tokens with corrupted activations put in; of the share, 1 means that this alone "
    "breaks as much as the whole corruption, 0 nothing",
}
CONTROL = (
    "the same patch with activations of another sequence (a random cycle through the batch): what of the effect needs "
    "this sequence's own activations is effect minus control"
)


@dataclass(frozen=True, eq=False)
class Effects:
    """Patched minus base of every cell of a map; NaN where a cell cannot be (a sender behind its receiver)."""

    samples: Float[Tensor, "batch *cell"]
    raw: Estimates
    """Mean over sequences, in the metric's unit."""
    share: Estimates | None
    """mean(patched - base) / mean(other - base); None where that cannot be divided by (see `PatchMap.undivided`)."""

    def to_dict(self) -> dict[str, Any]:
        parts = {"raw": self.raw, "share": self.share}
        return {name: part and _json(part.to_dict()) for name, part in parts.items()}


@dataclass(frozen=True, eq=False)
class PatchMap:
    """`map.effect.share[map.index("blocks.1.attn.hook_z", 0)]`: the effect of one patch, with its interval."""

    labels: dict[str, tuple[str, ...]]
    """What stands along each axis of the map, in order."""
    metric: str
    unit: str
    direction: str
    base: Estimate
    """The metric in the run that is patched."""
    other: Estimate
    """The metric in the run that patches come from."""
    gap: Estimate
    """Other minus base, sequence by sequence."""
    undivided: str
    """Why there are no shares; "" if there are."""
    effect: Effects
    control: Effects | None
    contrast: Estimates | None
    """Effect minus control, sequence by sequence, in the metric's unit."""
    text: str

    def index(self, *labels: object) -> tuple[int, ...]:
        """Where the cell with these labels is, one for each axis; `InputError` for one that is not there."""
        if len(labels) != len(self.labels):
            raise InputError(f"one label for each of {', '.join(self.labels)}, got {len(labels)}")
        for label, (axis, known) in zip(labels, self.labels.items(), strict=True):
            if str(label) not in known:
                raise InputError(f"no {axis} is called {str(label)!r}; there are {', '.join(known)}")
        return tuple(known.index(str(label)) for label, known in zip(labels, self.labels.values(), strict=True))

    def to_dict(self) -> dict[str, Any]:
        """For JSON: everything but the samples."""
        plain = ("labels", "metric", "unit", "direction", "undivided", "text")
        parts = {name: getattr(self, name) for name in ("base", "other", "gap", "effect", "control")}
        return (
            {name: getattr(self, name) for name in plain}
            | {name: part and part.to_dict() for name, part in parts.items()}
            | {"contrast": self.contrast and _json(self.contrast.to_dict())}
        )


def patch_map(
    labels: dict[str, tuple[str, ...]],
    runs: Runs,
    effect: Float[Tensor, "batch *cell"],
    control: Float[Tensor, "batch *cell"] | None,
    generator: torch.Generator,
    *,
    text: str,
    exists: Bool[Tensor, "*cell"] | None = None,
    level: float = 0.95,
) -> PatchMap:
    """A `PatchMap` from each sequence's effects (patched minus base).

    exists: the cells that can be. Shares are ratios of means over sequences; they are refused where the gap's interval
    reaches 0 or the gap is rounding error. Raises `InputError` for values that are not finite.
    """
    exists = torch.ones(effect.shape[1:], dtype=torch.bool) if exists is None else exists
    metric, gap = runs.metric, runs.other_values - runs.base_values
    draws, whole = resample(len(gap), generator, level), bootstrap_interval(gap, generator, level)
    undivided = ""
    if abs(whole.mean) <= runs.rounding or whole.low <= 0 <= whole.high or not draws.can_divide_by(gap):
        undivided = (
            f"other minus base is {whole} {metric.unit}, not distinguishable from 0: the runs do not differ in the "
            f"{metric.name}, so an effect is no share of anything"
        )
    divisor = None if undivided else (draws, gap)
    said = [text, metric.text, READING[runs.direction], *([] if control is None else [f"control: {CONTROL}"])]
    return PatchMap(
        labels,
        metric.name,
        metric.unit,
        runs.direction,
        bootstrap_interval(runs.base_values, generator, level),
        bootstrap_interval(runs.other_values, generator, level),
        whole,
        undivided,
        _effects(exists, effect, divisor, generator, level),
        None if control is None else _effects(exists, control, divisor, generator, level),
        None if control is None else _over(exists, effect - control, generator, level),
        "; ".join(said),
    )


def _effects(
    exists: Tensor, samples: Tensor, divisor: tuple[Resamples, Tensor] | None, generator: torch.Generator, level: float
) -> Effects:
    raw = _over(exists, samples, generator, level)
    share = None if divisor is None else _spread(divisor[0].ratio(samples[:, exists], divisor[1]), exists)
    return Effects(samples, raw, share)


def _over(exists: Tensor, samples: Tensor, generator: torch.Generator, level: float) -> Estimates:
    return _spread(bootstrap_intervals(samples[:, exists], generator, level), exists)


def _spread(found: Estimates, exists: Tensor) -> Estimates:
    """Estimates of the cells that exist, put where they belong, with NaN elsewhere."""

    def placed(values: Tensor) -> Tensor:
        whole = torch.full(exists.shape, torch.nan, dtype=values.dtype)
        whole[exists] = values
        return whole

    mean, low, high = (placed(each) for each in (found.mean, found.low, found.high))
    return Estimates(mean, low, high, found.n, found.level, found.method)


def _json(values: dict[str, Any]) -> dict[str, Any]:
    return {name: without_nan(value) for name, value in values.items()}
