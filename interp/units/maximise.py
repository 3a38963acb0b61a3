"""Inputs that drive a unit as far as it goes, and how much of that an untrained model of the same shape does too."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from interp.errors import InputError
from interp.hooks import record
from interp.hooks.interventions import find_axis
from interp.stats import Estimate
from interp.units.watched import check_inputs, per_input, points_of


@dataclass(frozen=True, eq=False)
class Maximised:
    """For every unit of a point, an input made to drive it, in the pixels' range.

    Neither `ratio` nor `own` is evidence by itself: an untrained net exceeds its best real input at almost every
    unit, and most units are driven most by their own image. Compare with the same net untrained, by `against`.
    """

    name: str
    units: tuple[int, ...]
    images: Float[Tensor, "unit *input"]
    response: Float[Tensor, " unit"]
    """Of each unit to its own image, at the place where it responds most."""
    best_real: Float[Tensor, " unit"]
    """The strongest response to any of the given inputs."""
    own: Bool[Tensor, " unit"]
    """Whether, of all these images, the unit's own drives it most."""
    steps: int
    silent: Bool[Tensor, " unit"]
    """Units that noise around the mean input drives nowhere; their image was begun at their best real input."""

    @property
    def ratio(self) -> Float[Tensor, " unit"]:
        """response / best_real; NaN where no real input drives the unit above 0."""
        return torch.where(self.best_real > 0, self.response / self.best_real, math.nan)

    def against(
        self, untrained: "Maximised", generator: torch.Generator, level: float = 0.95, draws: int = 2000
    ) -> dict[str, Estimate]:
        """Median log-ratio and share of own images, each minus the untrained net's; bootstraps over units."""
        logs = [each.ratio[each.ratio > 0].log() for each in (self, untrained)]
        if not all(len(log) for log in logs):
            raise InputError(f"at {self.name} no unit of one of the nets responds to a real input")
        own = [each.own.double() for each in (self, untrained)]
        return {
            "log ratio": _difference(logs, torch.median, generator, level, draws),
            "own image": _difference(own, torch.mean, generator, level, draws),
        }

    def to_dict(self) -> dict[str, Any]:
        """For JSON: everything but the images."""
        numbers = {
            "response": self.response,
            "best_real": self.best_real,
            "ratio": self.ratio,
            "own": self.own,
            "silent": self.silent,
        }
        return {"name": self.name, "units": list(self.units), "steps": self.steps} | {
            name: value.tolist() for name, value in numbers.items()
        }


def _difference(
    pair: list[Tensor], of: Callable[..., Any], generator: torch.Generator, level: float, draws: int
) -> Estimate:
    """The first's minus the second's, with a percentile interval over units drawn with replacement from each."""
    drawn = []
    for values in pair:
        picks = torch.randint(len(values), (draws, len(values)), generator=generator)
        found = of(values.double()[picks], dim=1)
        drawn.append(found if isinstance(found, Tensor) else found.values)
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = (drawn[0] - drawn[1]).quantile(tails).tolist()
    value = float(of(pair[0].double()) - of(pair[1].double()))
    return Estimate(value, low, high, min(map(len, pair)), level, f"percentile bootstrap over units, {draws} resamples")


def maximise_units(
    model: nn.Module,
    inputs: Float[Tensor, "n *rest"],
    point: str,
    generator: torch.Generator,
    *,
    units: tuple[int, ...] | None = None,
    steps: int = 200,
    rate: float = 0.05,
    decay: float = 0.01,
    axes: Mapping[str, str] | None = None,
) -> Maximised:
    """Gradient ascent on the input, one image for each unit (all, if none are named), clamped to the inputs' range.

    Starts from small noise of `generator` around the mean input, or, where the unit has no gradient there (a rectified
    one that is silent), from such noise around the input that drives it most; each step moves by `rate` times the range
    along the gradient of the unit's largest response (over places), divided by the gradient's root mean square, and
    pulls towards the mean input by the share `decay` (activation maximisation, Erhan et al. 2009, with an L2 penalty).
    The image with the strongest response on the way is kept. Raises `InputError` for fewer than two inputs, inputs
    that do not vary or are not finite, a model in training mode, and points or units that are not there.
    """
    check_inputs(model, inputs, least=2)
    targets = points_of(model, point, axes)
    if len(targets) != 1:
        raise InputError(f"{point!r} means {len(targets)} points: name one")
    name, axis = targets[0].name, find_axis(None, targets[0].name, targets[0].axes)
    low, high = float(inputs.min()), float(inputs.max())
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(f"inputs must be finite and vary, they lie in [{low}, {high}]")
    real, strongest = per_input(model, inputs, targets, {name: _largest}, axes, batch_size=256)[name].max(0)
    chosen = tuple(range(len(real))) if units is None else units
    if not chosen or any(not 0 <= unit < len(real) for unit in chosen):
        raise InputError(f"{name} has units 0 to {len(real) - 1}, asked for {list(chosen)}")
    ascent = _Ascent(model, name, axis, axes, chosen)
    centre, span = inputs.mean(0), high - low
    noise = 0.1 * span * torch.randn(len(chosen), *centre.shape, generator=generator).to(centre)
    images = (centre + noise).clamp(low, high)
    silent = ascent(images)[1].flatten(1).abs().amax(1) == 0
    images[silent] = (inputs[strongest[list(chosen)].to(silent.device)][silent] + noise[silent]).clamp(low, high)
    best, responses = images, torch.full((len(chosen),), -math.inf, dtype=images.dtype, device=images.device)
    for _ in range(steps):
        now, gradient = ascent(images)
        better = (now > responses).view(-1, *(1 for _ in centre.shape))
        best, responses = torch.where(better, images, best), responses.maximum(now)
        size = gradient.flatten(1).square().mean(1).sqrt().clamp_min(1e-12).view(-1, *(1 for _ in centre.shape))
        moved = images + rate * span * gradient / size
        images = (moved - decay * (moved - centre)).clamp(low, high)
    crossed = per_input(model, best, targets, {name: _largest}, axes, batch_size=256)[name][:, list(chosen)]
    own = crossed.argmax(0) == torch.arange(len(chosen))
    return Maximised(name, chosen, best, crossed.diagonal().clone(), real[list(chosen)], own, steps, silent.cpu())


def _largest(value: Float[Tensor, "batch unit place"]) -> Float[Tensor, "batch unit"]:
    return value.amax(-1)


class _Ascent:
    """Image u -> the largest response of unit u, and its gradient."""

    def __init__(self, model: nn.Module, name: str, axis: int, axes: Mapping[str, str] | None, units: tuple[int, ...]):
        self.model, self.name, self.axis, self.axes, self.units = model, name, axis, axes, units

    def __call__(self, images: Tensor) -> tuple[Float[Tensor, " unit"], Tensor]:
        images = images.detach().requires_grad_()
        with torch.enable_grad():
            value = record(self.model, images, names=self.name, axes=self.axes, grad=True)[self.name]
            by_unit = value.movedim(self.axis, 1).reshape(len(images), value.shape[self.axis], -1).amax(-1)
            response = by_unit[torch.arange(len(images)), list(self.units)]
            (gradient,) = torch.autograd.grad(response.sum(), images)
        return response.detach(), gradient
