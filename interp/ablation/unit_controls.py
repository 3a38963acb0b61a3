"""What a classifier, or any model with a loss on inputs, loses without units, beside other sets of as many units.

A removal that harms shows nothing by itself: any units do. Controls are random sets of as many units of the same
points, and sets matched in magnitude, since units that are large harm by their size alone. Collateral damage is what
else breaks: the effect on each class, beside what random sets do to that class.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from interp.ablation.matched_sets import matched_sets
from interp.ablation.on_inputs import TEXTS, InputLoss, OnInputs, To
from interp.ablation.random_sets import Group, random_sets
from interp.ablation.units import Unit
from interp.errors import InputError
from interp.stats import Estimate, bootstrap_interval, clopper_pearson, monte_carlo_p_value


@dataclass(frozen=True, eq=False)
class Controls:
    """What the removal of other sets does, each as a mean over the same inputs (removed minus intact)."""

    losses: Float[Tensor, " draw"]
    accuracies: Float[Tensor, " draw"] | None
    sizes: Float[Tensor, " draw"]
    """How much a removal changes at its points (root of the summed mean squares), as a share of the named set's."""
    p_loss: float
    """(1 + sets that raise the loss at least as much) / (1 + sets)."""
    p_accuracy: float | None
    """The same of sets that lower the accuracy at least as much."""
    text: str

    def __len__(self) -> int:
        return len(self.losses)

    def to_dict(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in ("losses", "accuracies", "sizes")}
        listed = {name: None if value is None else value.tolist() for name, value in values.items()}
        return {"protocol": self.text, "p_loss": self.p_loss, "p_accuracy": self.p_accuracy} | listed


@dataclass(frozen=True, eq=False)
class ClassEffect:
    """What the removal does to the inputs of one class, beside random sets."""

    label: int
    loss: Estimate
    accuracy: Estimate | None
    random_mean: float | None
    """Mean effect on this class's loss of the random sets."""
    random_high: float | None
    """The 95 % quantile of that."""
    p: float | None
    p_any: float | None
    """(1 + random sets that hit any class as much) / (1 + sets), in standard deviations of what random sets do to the
    class: corrected for looking at all classes (the maximum's distribution, Westfall and Young 1993)."""

    def to_dict(self) -> dict[str, Any]:
        made = {"loss": self.loss.to_dict(), "accuracy": self.accuracy and self.accuracy.to_dict()}
        return vars(self) | made


@dataclass(frozen=True, eq=False)
class UnitRemoval:
    """Effect of removing units together (removed minus intact, paired over inputs), controls, and what else breaks."""

    units: tuple[Unit, ...]
    loss: Estimate
    accuracy: Estimate | None
    intact_loss: Estimate
    intact_accuracy: Estimate | None
    alone: tuple[Estimate, ...]
    """The effect on the loss of each unit removed by itself, in the order of `units`."""
    random: Controls | None
    """None if there are fewer than two other sets."""
    matched: Controls | None
    classes: tuple[ClassEffect, ...]
    """Classes with two inputs or more; empty where inputs have none."""
    text: str

    def to_dict(self) -> dict[str, Any]:
        parts = {
            name: getattr(self, name)
            for name in ("loss", "accuracy", "intact_loss", "intact_accuracy", "random", "matched")
        }
        return (
            {"protocol": self.text, "units": [str(unit) for unit in self.units]}
            | {name: part and part.to_dict() for name, part in parts.items()}
            | {"alone": [each.to_dict() for each in self.alone]}
            | {"classes": [each.to_dict() for each in self.classes]}
        )


def unit_removal(
    model: nn.Module,
    inputs: Shaped[Tensor, "n *rest"],
    targets: Shaped[Tensor, "m *more"],
    units: Mapping[str, Iterable[int]],
    generator: torch.Generator,
    *,
    loss: InputLoss | None = None,
    classes: Int[Tensor, " k"] | None = None,
    to: To = "mean",
    controls: int = 100,
    axes: Mapping[str, str] | None = None,
    batch_size: int = 256,
    level: float = 0.95,
) -> UnitRemoval:
    """These units (by point, with their indices) removed together from a model in evaluation mode.

    targets: the class of each input, measured by cross-entropy in nats and by accuracy; or anything else, with a
        `loss` (output, targets) that gives one number for each input.
    classes: of the inputs, for collateral damage; without it the targets, where they are classes.
    to: what a removed unit gives instead, from the intact model: its "mean" over inputs and places, "zero", or, by
        "resample", its values on another input.
    controls: how many random sets, and how many matched ones (`matched_sets`; a unit's magnitude is the root mean
        square of what its removal changes: of its values for "zero", else of their deviations from the mean).
    Intervals are BCa bootstraps over inputs from `generator`, accuracies' Clopper-Pearson. Raises `InputError` for
    points and units that are not there, inputs and targets that do not match or are not finite, a model in training
    mode, and a loss that is not one number for each input.
    """
    if controls < 0:
        raise InputError(f"controls must be 0 or more sets, got {controls}")
    run = OnInputs(model, inputs, targets, loss, axes, batch_size)
    grouped = _classes_of(run, classes)
    chosen = run.choose(units)
    run.prepare(to, generator)
    intact = run.values(())
    effect = run.values(chosen) - intact
    alone = [(run.values([unit]) - intact)[0] for unit in chosen] if len(chosen) > 1 else [effect[0]]
    random, matched = _other_sets(run, chosen, controls, generator)
    draws, near = ([run.values(each) - intact for each in sets] for sets, _ in (random, matched))
    return UnitRemoval(
        units=chosen,
        loss=bootstrap_interval(effect[0], generator, level),
        accuracy=bootstrap_interval(effect[1], generator, level) if _known(effect[1]) else None,
        intact_loss=bootstrap_interval(intact[0], generator, level),
        intact_accuracy=clopper_pearson(int(intact[1].sum()), len(inputs), level) if _known(intact[1]) else None,
        alone=tuple(bootstrap_interval(each, generator, level) for each in alone),
        random=_controls(run, chosen, effect, *random, draws),
        matched=_controls(run, chosen, effect, *matched, near),
        classes=() if grouped is None else _by_class(grouped, effect, draws, generator, level),
        text=f"{len(inputs)} inputs; removed units give {TEXTS[to]}",
    )


def _classes_of(run: OnInputs, classes: Tensor | None) -> Tensor | None:
    if classes is not None and len(classes) != len(run.inputs):
        raise InputError(f"classes must be as many as inputs, got {len(classes)} and {len(run.inputs)}")
    return run.targets if classes is None and run.classes else classes


def _other_sets(
    run: OnInputs, chosen: tuple[Unit, ...], n: int, generator: torch.Generator
) -> tuple[tuple[list[tuple[Unit, ...]], str], tuple[list[tuple[Unit, ...]], str]]:
    """(random sets, in words), (matched sets, in words)."""
    groups: list[Group] = [
        ([Unit(point, i) for i in range(len(sizes))], [unit for unit in chosen if unit.point == point])
        for point, sizes in run.sizes.items()
    ]
    if not n:
        return ([], "none"), ([], "none")
    random = random_sets(groups, n, generator, kind="units of these points")
    matched = matched_sets(groups, lambda unit: float(run.sizes[unit.point][unit.index]), n, generator)
    return random, (matched, f"{len(matched)} sets of {len(chosen)} other units, each near a named one in magnitude")


def _controls(
    run: OnInputs,
    chosen: tuple[Unit, ...],
    effect: Float[Tensor, "quantity n"],
    sets: list[tuple[Unit, ...]],
    text: str,
    draws: list[Tensor],
) -> Controls | None:
    if len(sets) < 2:
        return None
    losses, accuracies = torch.stack(draws).mean(2).T
    known, size = _known(accuracies), _size(run, chosen)
    return Controls(
        losses,
        accuracies if known else None,
        torch.tensor([_size(run, each) / size if size else torch.nan for each in sets], dtype=torch.float64),
        monte_carlo_p_value(float(effect[0].mean()), losses),
        monte_carlo_p_value(float(effect[1].mean()), accuracies, "less") if known else None,
        text,
    )


def _size(run: OnInputs, units: Iterable[Unit]) -> float:
    return sum(float(run.sizes[unit.point][unit.index]) ** 2 for unit in units) ** 0.5


def _by_class(
    classes: Int[Tensor, " n"], effect: Tensor, draws: list[Tensor], generator: torch.Generator, level: float
) -> tuple[ClassEffect, ...]:
    labels = [label for label in classes.unique().tolist() if int((classes == label).sum()) > 1]
    of_class = {label: (classes == label).cpu() for label in labels}
    random = {
        label: torch.tensor([float(d[0, here].mean()) for d in draws]).double() for label, here in of_class.items()
    }
    tested = len(draws) > 1
    p = [monte_carlo_p_value(float(effect[0, of_class[label]].mean()), random[label]) for label in labels if tested]
    p_any = _corrected([float(effect[0, of_class[label]].mean()) for label in labels], random, labels) if tested else []
    return tuple(
        ClassEffect(
            label,
            bootstrap_interval(effect[0, of_class[label]], generator, level),
            bootstrap_interval(effect[1, of_class[label]], generator, level) if _known(effect[1]) else None,
            float(random[label].mean()) if tested else None,
            float(random[label].quantile(0.95)) if tested else None,
            p[place] if tested else None,
            p_any[place] if tested else None,
        )
        for place, label in enumerate(labels)
    )


def _corrected(effects: list[float], random: Mapping[int, Tensor], labels: list[int]) -> list[float]:
    """For each class the p-value of its effect, standardised, among the largest over classes of each random set."""
    draws = torch.stack([random[label] for label in labels])
    mean, std = draws.mean(1, keepdim=True), draws.std(1, keepdim=True).clamp_min(1e-12)
    largest = ((draws - mean) / std).amax(0)
    own = (torch.tensor(effects, dtype=torch.float64)[:, None] - mean) / std
    return [monte_carlo_p_value(float(each), largest) for each in own]


def _known(values: Tensor) -> bool:
    return not bool(values.isnan().any())
