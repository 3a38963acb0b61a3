"""Values at the points of a model on many inputs, unit by unit, reduced as they pass."""

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from interp.errors import InputError
from interp.hooks import record
from interp.hooks.interventions import find_axis
from interp.hooks.targets import Target, find_targets

PerInput = Callable[[Tensor], Tensor]
"""[batch unit place] -> something of each input, the batch first."""


def check_inputs(model: nn.Module, inputs: Tensor, least: int) -> None:
    """`InputError` for fewer than `least` inputs, or a model in training mode, whose responses are of the batch."""
    if len(inputs) < least:
        raise InputError(f"needs at least {least} inputs, got {len(inputs)}")
    if model.training:
        raise InputError("the model is in training mode, so that what it does depends on the batch: call model.eval()")


def points_of(model: nn.Module, names: str | Iterable[str], axes: Mapping[str, str] | None) -> list[Target]:
    """The places that names and globs mean, each once, with their axes; `InputError` where no axis indexes units."""
    found = {t.name: t for targets in find_targets(model, names, axes).values() for t in targets}
    for target in found.values():
        find_axis(None, target.name, target.axes)
    return list(found.values())


def per_input(
    model: nn.Module,
    inputs: Tensor,
    points: Iterable[Target],
    reduce: Mapping[str, PerInput],
    axes: Mapping[str, str] | None,
    batch_size: int,
) -> dict[str, Tensor]:
    """`reduce[name]` of the values at each point, [n ...] on the CPU in float64; no more than a batch is ever kept."""
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, got {batch_size}")
    points = list(points)
    reductions = {t.name: _by_unit(reduce[t.name], find_axis(None, t.name, t.axes)) for t in points}
    device = next((p.device for p in model.parameters()), inputs.device)
    parts: dict[str, list[Tensor]] = {name: [] for name in reductions}
    for batch in inputs.split(batch_size):
        run = record(model, batch.to(device), names=list(reductions), reduce=reductions, axes=axes)
        for name, values in parts.items():
            values.append(run[name].double().cpu())
    return {name: torch.cat(values) for name, values in parts.items()}


def _by_unit(reduce: PerInput, axis: int) -> PerInput:
    def of_value(value: Tensor) -> Tensor:
        return reduce(value.movedim(axis, 1).flatten(2) if value.ndim > 2 else value.movedim(axis, 1)[..., None])

    return of_value
