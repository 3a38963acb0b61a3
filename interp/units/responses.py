"""How units respond to inputs: how strongly, how variably, how often, and which of them never do."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from interp.errors import InputError
from interp.stats import Estimate, Estimates, bootstrap_intervals
from interp.stats.ratios import Resamples, resample
from interp.units.watched import check_inputs, per_input, points_of

NEAR = 0.05
"""A value is saturated if it lies within this share of its range from one of the ends."""


@dataclass(frozen=True, eq=False)
class Responses:
    """Responses of the units at one point, with intervals over inputs; places (pixels) of one input count together.

    A unit that is `dead` was never above 0; of n inputs that only shows that fewer than about 3/n of such inputs (95 %)
    drive it. What an untrained model does is the baseline: measure it the same way.
    """

    name: str
    n: int
    mean: Estimates
    """[unit]"""
    std: Estimates
    """[unit], over inputs and places."""
    active: Estimates
    """[unit]: share of values above 0."""
    saturated: Estimates | None
    """[unit]: share of values near an end of the activation's range; None for one without ends."""
    sparsity: Float[Tensor, " unit"]
    """1 - mean(|a|)² / mean(a²) over inputs, scaled so that one active input of n gives 1, equal activity 0."""
    layer_std: Estimate
    """Root mean square of the units' standard deviations (He et al. 2015, figure 7)."""

    @property
    def dead(self) -> Bool[Tensor, " unit"]:
        return self.active.mean == 0

    @property
    def dead_share(self) -> float:
        """Share of the layer's units that are dead on these inputs."""
        return float(self.dead.double().mean())

    @property
    def saturated_share(self) -> float | None:
        """Share of the layer's values that are saturated."""
        return None if self.saturated is None else float(self.saturated.mean.mean())

    def to_dict(self) -> dict[str, Any]:
        units = {"mean": self.mean, "std": self.std, "active": self.active, "saturated": self.saturated}
        return {
            "name": self.name,
            "inputs": self.n,
            "units": {name: None if e is None else e.to_dict() for name, e in units.items()}
            | {"sparsity": self.sparsity.tolist(), "dead": self.dead.tolist()},
            "layer": {
                "std": self.layer_std.to_dict(),
                "active_share": float(self.active.mean.mean()),
                "dead_share": self.dead_share,
                "saturated_share": self.saturated_share,
                "sparsity": float(self.sparsity.mean()),
            },
        }


def unit_responses(
    model: nn.Module,
    inputs: Float[Tensor, "n *rest"],
    generator: torch.Generator,
    names: str | Iterable[str] = "*hook_post",
    *,
    axes: Mapping[str, str] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    batch_size: int = 256,
    level: float = 0.95,
) -> dict[str, Responses]:
    """Mean, standard deviation, activity, saturation and sparsity of every unit at the named points, in their order.

    `names` and `axes` are those of `record`; `ranges` says, by name or glob, between which ends an activation lies:
    {"*hook_post": (0, 1)} for sigmoids. `sparsity` is that of Vinje and Gallant (2000, Science 287) for single units
    over inputs: (1 - a) / (1 - 1/n), a = mean(r)² / mean(r²) of each input's mean |response| r. Intervals are
    bootstraps over inputs from `generator`: BCa for means, percentile for standard deviations.
    Raises `InputError` for fewer than two inputs, a model in training mode, points without an axis of units, a range
    that is none, and responses that are not finite.
    """
    check_inputs(model, inputs, least=2)
    points = points_of(model, names, axes)
    limits = {t.name: _range_of(t.name, ranges or {}) for t in points}
    moments = per_input(model, inputs, points, {n: _Moments(r) for n, r in limits.items()}, axes, batch_size)
    draws = resample(len(inputs), generator, level)
    return {
        name: _responses(name, values, limits[name] is not None, draws, generator) for name, values in moments.items()
    }


class _Moments:
    """[batch unit place] -> [batch unit 5]: mean, mean square, mean size, share above 0, share saturated."""

    def __init__(self, limits: tuple[float, float] | None):
        self.limits = limits

    def __call__(self, value: Float[Tensor, "batch unit place"]) -> Float[Tensor, "batch unit five"]:
        value = value.double()
        near = torch.zeros_like(value)
        if self.limits is not None:
            low, high = self.limits
            near = ((value - low).abs().minimum((value - high).abs()) <= NEAR * (high - low)).double()
        parts = (value, value.square(), value.abs(), (value > 0).double(), near)
        return torch.stack([part.mean(-1) for part in parts], dim=-1)


def _responses(name: str, moments: Tensor, ends: bool, draws: Resamples, generator: torch.Generator) -> Responses:
    if not bool(moments.isfinite().all()):
        raise InputError(f"{name}: {int((~moments.isfinite()).any(-1).sum())} responses are NaN or infinite")
    mean, square, size, active, near = moments.unbind(-1)
    n, level = len(moments), draws.level
    strength = size.square().mean(0)
    spread = 1 - torch.where(strength > 0, size.mean(0).square() / strength.clamp_min(1e-300), 1.0)
    variances = (draws.shares @ square - (draws.shares @ mean).square()).clamp_min(0)
    variance = (square.mean(0) - mean.mean(0).square()).clamp_min(0)
    return Responses(
        name,
        n,
        bootstrap_intervals(mean, generator, level),
        _of_draws(variance.sqrt(), variances.sqrt(), draws, n),
        bootstrap_intervals(active, generator, level),
        bootstrap_intervals(near, generator, level) if ends else None,
        spread / (1 - 1 / n),
        _of_draws(variance.mean().sqrt()[None], variances.mean(1).sqrt()[:, None], draws, n)[0],
    )


def _of_draws(value: Tensor, drawn: Float[Tensor, "draw unit"], draws: Resamples, n: int) -> Estimates:
    low, high = draws.limits(drawn)
    return Estimates(value, low, high, n, draws.level, f"percentile bootstrap, {len(drawn)} resamples")


def _range_of(name: str, ranges: Mapping[str, tuple[float, float]]) -> tuple[float, float] | None:
    for pattern, (low, high) in ranges.items():
        if fnmatchcase(name, pattern):
            if not low < high:
                raise InputError(f"the range of {pattern} must be (low, high) with low below high, got ({low}, {high})")
            return low, high
    return None
