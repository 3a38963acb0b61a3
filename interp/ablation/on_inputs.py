"""Any model run on inputs with targets, as it is and with units removed: images, vectors, whatever it takes."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional

from interp.ablation.units import Unit
from interp.errors import InputError, NotFinite
from interp.hooks import ablate, intervene, record
from interp.hooks.interventions import find_axis
from interp.hooks.targets import Target
from interp.units.watched import check_inputs, per_input, points_of

To = Literal["mean", "zero", "resample"]
InputLoss = Callable[[Any, Tensor], Tensor]
"""(output, targets) -> one number for each input."""
TEXTS = {
    "zero": "zero",
    "mean": "their mean over these inputs and all places",
    "resample": "their values on another of these inputs",
}


class OnInputs:
    """A model with its inputs and targets; `values` gives loss and, of a classifier, whether each input is right."""

    def __init__(
        self,
        model: nn.Module,
        inputs: Shaped[Tensor, "n *rest"],
        targets: Shaped[Tensor, "m *more"],
        loss: InputLoss | None,
        axes: Mapping[str, str] | None,
        batch_size: int,
    ):
        check_inputs(model, inputs, least=2)
        if len(inputs) != len(targets):
            raise InputError(f"inputs and targets must be as many, got {len(inputs)} and {len(targets)}")
        if inputs.is_floating_point() and not bool(inputs.isfinite().all()):
            bad = int((~inputs.isfinite()).sum())
            raise InputError(f"{bad} of {inputs.numel()} numbers of the inputs are NaN or infinite")
        self.model, self.inputs, self.targets = model, inputs, targets
        self.loss, self.axes, self.batch_size = loss, axes, batch_size
        self.classes = targets.ndim == 1 and not targets.is_floating_point()
        if loss is None and not self.classes:
            raise InputError("targets that are no class numbers need a loss: pass loss=(output, targets) -> [n]")
        self.device = next((p.device for p in model.parameters()), inputs.device)
        self.points: dict[str, Target] = {}
        self.instead: dict[str, Tensor] = {}
        self.sizes: dict[str, Float[Tensor, " unit"]] = {}
        """By point, the root mean square of what removing a unit changes there."""

    def choose(self, units: Mapping[str, Iterable[int]]) -> tuple[Unit, ...]:
        """The units, each once and in order; `InputError` for points and units that are not there."""
        found: list[Unit] = []
        for name, indices in units.items():
            targets = points_of(self.model, name, self.axes)
            if len(targets) != 1:
                raise InputError(f"{name!r} means {len(targets)} points: name one")
            point = targets[0].name
            self.points[point] = targets[0]
            size = len(self._moments([targets[0]], self.inputs[:1])[point][0])
            chosen = sorted(set(indices))
            if outside := [unit for unit in chosen if not 0 <= unit < size]:
                raise InputError(f"{point} has units 0 to {size - 1}, there is no unit {outside[0]}")
            found += [Unit(point, unit) for unit in chosen]
        if not found:
            raise InputError("name at least one unit to remove")
        return tuple(dict.fromkeys(found))

    def prepare(self, to: To, generator: torch.Generator) -> None:
        """Measures, on the intact model, what stands in for a removed unit, and how much that changes."""
        for name, values in self._moments(self.points.values(), self.inputs).items():
            mean, square = values.mean(0).unbind(-1)
            self.sizes[name] = (square if to == "zero" else (square - mean.square()).clamp_min(0)).sqrt()
            if to == "mean":
                self.instead[name] = mean
        if to == "resample":
            order = torch.randperm(len(self.inputs), generator=generator)
            self.source = torch.empty_like(order)
            self.source[order] = order.roll(1)
            self.instead = self._all_values()

    def values(self, units: Iterable[Unit]) -> Float[Tensor, "quantity n"]:
        """Loss and 1 or 0 for right or wrong (NaN without classes) of each input, without these units."""
        by_point: dict[str, list[int]] = {}
        for unit in units:
            by_point.setdefault(unit.point, []).append(unit.index)
        parts = []
        for start in range(0, len(self.inputs), self.batch_size):
            part = slice(start, start + self.batch_size)
            edits = {point: ablate(chosen, **self._how(point, chosen, part)) for point, chosen in by_point.items()}
            parts.append(self._run(part, edits))
        return torch.cat(parts, dim=1)

    @torch.no_grad()
    def _run(self, part: slice, edits: Mapping[str, Any]) -> Float[Tensor, "quantity batch"]:
        batch, targets = self.inputs[part].to(self.device), self.targets[part].to(self.device)
        if edits:
            with intervene(self.model, edits, axes=self.axes):
                output = self.model(batch)
        else:
            output = self.model(batch)
        loss = self._loss(output, targets).double().cpu()
        if loss.shape != (len(batch),):
            raise InputError(f"the loss must give one number for each of {len(batch)} inputs, got {list(loss.shape)}")
        if not bool(loss.isfinite().all()):
            raise NotFinite(f"the loss of {int((~loss.isfinite()).sum())} of {len(loss)} inputs is NaN or infinite")
        right = torch.full_like(loss, torch.nan)
        if self.classes and isinstance(output, Tensor) and output.ndim == 2:
            right = (output.argmax(1) == targets).double().cpu()
        return torch.stack([loss, right])

    def _loss(self, output: Any, targets: Tensor) -> Tensor:
        if self.loss is not None:
            return self.loss(output, targets)
        if not isinstance(output, Tensor) or output.ndim != 2 or int(targets.max()) >= output.shape[1]:
            shape = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise InputError(f"class numbers up to {int(targets.max())} need logits [n class], the model gives {shape}")
        return functional.cross_entropy(output.double(), targets, reduction="none")

    def _how(self, point: str, units: list[int], part: slice) -> dict[str, Any]:
        axis = find_axis(None, point, self.points[point].axes)
        if point not in self.instead:
            return {"to": "zero", "axis": axis}
        value = self.instead[point]
        if value.ndim == 1:
            places = [1] * (len(self.points[point].axes or ()) - axis - 1)
            return {"to": value[units].view(-1, *places), "axis": axis}
        return {"to": value[part].index_select(axis, torch.tensor(units)), "axis": axis}

    def _moments(self, points: Iterable[Target], inputs: Tensor) -> dict[str, Float[Tensor, "n unit two"]]:
        """Mean and mean square of every unit on each input, over places."""

        def moments(value: Tensor) -> Tensor:
            return torch.stack([value.double().mean(-1), value.double().square().mean(-1)], dim=-1)

        points = list(points)
        return per_input(self.model, inputs, points, {t.name: moments for t in points}, self.axes, self.batch_size)

    def _all_values(self) -> dict[str, Tensor]:
        """What passes each point on the input that stands in for each input."""
        parts: dict[str, list[Tensor]] = {point: [] for point in self.points}
        for batch in self.inputs.split(self.batch_size):
            run = record(self.model, batch.to(self.device), names=list(parts), axes=self.axes)
            for point, values in parts.items():
                values.append(run[point].cpu())
        return {point: torch.cat(values)[self.source] for point, values in parts.items()}
