"""How far the distribution of a layer's values has moved: the "internal covariate shift" of Ioffe and Szegedy 2015."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.errors import InputError
from interp.units.watched import per_input, points_of


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and variance (over inputs and places, divided by their number) of the units at one point."""

    mean: Float[Tensor, " unit"]
    var: Float[Tensor, " unit"]


def unit_moments(
    model: nn.Module,
    inputs: Float[Tensor, "n *rest"],
    names: str | Iterable[str] = "*hook_post",
    *,
    axes: Mapping[str, str] | None = None,
) -> dict[str, Moments]:
    """Moments of every unit at the named points, in float64.

    The inputs pass as one batch, and the model in the mode that it is in: a BatchNorm in training mode normalises by
    these very inputs, and learns nothing from them. Raises `InputError` for fewer than two inputs, and points without
    an axis of units.
    """
    if len(inputs) < 2:
        raise InputError(f"a variance needs at least 2 inputs, got {len(inputs)}")
    points = points_of(model, names, axes)
    sums = per_input(model, inputs, points, {point.name: _mean_and_square for point in points}, axes, len(inputs))
    means = {name: each.mean(0) for name, each in sums.items()}
    return {name: Moments(m[:, 0], (m[:, 1] - m[:, 0].square()).clamp_min(0)) for name, m in means.items()}


def drift(before: Mapping[str, Moments], after: Mapping[str, Moments]) -> dict[str, float]:
    """Root mean square over units of the shift of their means, in standard deviations of the layer before it:

    sqrt(sum_u (mean'_u - mean_u)² / sum_u var_u), point by point; infinite for a layer that did not vary and moved.

    It is 0 for a model that did not change, since both are measured on the same inputs. Raises `InputError` for
    moments of other points.
    """
    if list(before) != list(after):
        raise InputError(f"drift compares the same points, got {', '.join(before)} and {', '.join(after)}")
    return {name: _shift(before[name], after[name]) for name in before}


def _shift(before: Moments, after: Moments) -> float:
    moved = (after.mean - before.mean).square().sum()
    return 0.0 if float(moved) == 0 else float((moved / before.var.sum()).sqrt())


def _mean_and_square(value: Float[Tensor, "batch unit place"]) -> Float[Tensor, "batch unit two"]:
    value = value.double()
    return torch.stack([value.mean(-1), value.square().mean(-1)], dim=-1)
