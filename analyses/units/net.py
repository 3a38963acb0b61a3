"""A net under study: the model, the same net untrained, and the examples that it is measured on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from interp.hooks import record
from interp.hooks.activations import UnknownName, nearest
from interp.hooks.targets import find_targets
from toy_models.errors import InputError
from toy_models.layers.population import with_population_statistics

KINDS = ("pre", "norm", "post", "hidden", "add", "shortcut", "pool", "pooled", "out")
"""The last parts of the hook points that are measured: what a layer computes, not the inside of a normalisation."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Inputs, and for each what the net should make of it."""

    inputs: Float[Tensor, "n *rest"]
    targets: Shaped[Tensor, "m *more"]

    def __len__(self) -> int:
        return len(self.inputs)

    def first(self, n: int | None) -> "Examples":
        """So many of them, from the first on; all for None, or where there are not more."""
        return self if n is None else Examples(self.inputs[:n], self.targets[:n])


@dataclass(frozen=True, eq=False)
class Net:
    """A trained net in evaluation mode beside the same net untrained, and its examples.

    Where the net normalises by batch statistics, the untrained one holds those of training examples: with the ones it
    was made with it would not normalise at all.
    """

    name: str
    model: nn.Module
    untrained: nn.Module
    training: Examples
    held_out: Examples
    loss: Callable[[Any, Tensor], Tensor]
    """(output, targets) -> one number for each example, what training brings down."""
    loss_name: str
    """That, with its unit."""
    labels: Int[Tensor, " k"] | None
    """The class of each held-out example; None where examples have none."""
    classes: tuple[str, ...]
    activation: str
    description: str
    """One line for the terminal and the page."""
    identity: Mapping[str, Any]
    """What identifies the model, for JSON."""

    def with_inputs(self, n: int | None) -> "Net":
        """Measured on the first `n` held-out examples."""
        labels = None if self.labels is None else self.labels[:n]
        return replace(self, held_out=self.held_out.first(n), labels=labels)

    def points(self, names: tuple[str, ...] = ()) -> list[str]:
        """Hook points with an axis of units at which a value passes, as the model runs: those of `KINDS`, or named.

        Raises `InputError` for names that are not there or have no units, naming the nearest.
        """
        run = record(self.model, self.held_out.inputs[:2])
        there = {name: axes for name, axes in run.axes.items() if axes and "unit" in axes and axes[0] == "batch"}
        if not names:
            return [name for name in there if name.rpartition(".")[2].removeprefix("hook_") in KINDS]
        found = {t.name for each in find_targets(self.model, names).values() for t in each}
        for name in names:
            if name in found and name not in there:
                raise UnknownName(f"{name} has no units of its own; {nearest(name, there)}")
        kept = [name for name in there if name in found]
        if not kept:
            raise InputError(f"none of {', '.join(names)} has units; {nearest(names[0], there)}")
        return kept

    def size_of(self, point: str) -> int:
        """How many units a point has."""
        run = record(self.model, self.held_out.inputs[:2], names=point)
        axes = run.axes[point]
        assert axes is not None
        return int(run[point].shape[axes.index("unit")])


def settled(net: nn.Module, training: Examples) -> nn.Module:
    """A copy of an untrained net that normalises by the statistics of (at most 512) training examples."""
    return with_population_statistics(net, training.inputs[:512])
