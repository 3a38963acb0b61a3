"""Ready-made functions for `intervene`: setting units, heads, filters or latent dimensions to something else."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from interp.errors import InputError

Edit = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Ablation:
    """What `ablate` made; `at` turns it into a function of the values at one point."""

    units: tuple[int, ...]
    to: str | Tensor
    axis: str | int | None
    over: tuple[str, ...]
    generator: torch.Generator | None

    def at(self, name: str, axes: tuple[str, ...] | None) -> Edit:
        """The function for the point `name`, whose axes are called `axes` (None if unknown)."""
        axis = find_axis(self.axis, name, axes)
        over = [axes.index(a) for a in self.over if a in axes] if axes else [0]

        def edit(value: Tensor) -> Tensor:
            size = value.shape[axis]
            if outside := [u for u in self.units if not 0 <= u < size]:
                raise InputError(f"{name} has units 0 to {size - 1}, there is no unit {outside[0]}")
            index = torch.tensor(self.units, device=value.device)
            part = value.index_select(axis, index)
            return value.index_copy(axis, index, self._instead_of(part, over, name))

        return edit

    def _instead_of(self, part: Tensor, over: list[int], name: str) -> Tensor:
        """What stands in for `part`, the values of the chosen units."""
        if isinstance(self.to, Tensor):
            try:
                return self.to.to(part).expand_as(part)
            except RuntimeError:
                raise InputError(
                    f"the values of these units at {name} are {list(part.shape)}, the ablation's tensor is "
                    f"{list(self.to.shape)} and does not broadcast to that"
                ) from None
        if self.to == "zero":
            return torch.zeros_like(part)
        if all(part.shape[a] == 1 for a in (over if self.to == "mean" else [0])):
            raise InputError(f"with a single sample at {name} its {self.to} is the value itself: give a larger batch")
        if self.to == "mean":
            return part.mean(dim=over, keepdim=True).expand_as(part)
        order = torch.randperm(len(part), generator=self.generator)
        source = torch.empty_like(order)
        source[order] = order.roll(1)  # one cycle through the batch: nobody keeps their own
        return part[source.to(part.device)]


def ablate(
    units: int | Iterable[int],
    to: Literal["zero", "mean", "resample"] | Tensor = "zero",
    *,
    axis: str | int | None = None,
    over: tuple[str, ...] = ("batch",),
    generator: torch.Generator | None = None,
) -> Ablation:
    """An intervention that replaces the values of some units: `intervene(model, {name: ablate([0, 3])})`.

    Units are indices along the point's axis called `unit` or `head`, or along `axis` (a name, or a number for
    points without named axes). `to` is what they become: "zero"; "mean", over the axes named in `over` of the batch
    that is being run (each position keeps its own by default); "resample", the values of another sample of the
    batch, drawn with `generator`; or a tensor that broadcasts to the units' values.
    """
    chosen = (units,) if isinstance(units, int) else tuple(units)
    if not chosen or not all(isinstance(u, int) for u in chosen):
        raise InputError(f"ablate needs one or more whole numbers, the units to replace, got {units!r}")
    if len(set(chosen)) < len(chosen):
        raise InputError(f"ablate got the same unit twice: {list(chosen)}")
    if not isinstance(to, Tensor) and to not in ("zero", "mean", "resample"):
        raise InputError(f"to must be 'zero', 'mean', 'resample' or a tensor, got {to!r}")
    if isinstance(to, str) and to == "resample" and generator is None:
        raise InputError("to='resample' draws other samples: pass generator=torch.Generator().manual_seed(...)")
    return Ablation(chosen, to, axis, over, generator)


def find_axis(axis: str | int | None, name: str, axes: tuple[str, ...] | None) -> int:
    """Which dimension indexes units at the point `name`: `axis` if given, else the one called `unit` or `head`."""
    if isinstance(axis, int):
        return axis
    if axes is None:
        raise InputError(f"the axes of {name} have no names: pass axis=<number> to ablate, or axes= to intervene")
    wanted = [axis] if axis is not None else ["unit", "head"]
    for each in wanted:
        if each in axes:
            return axes.index(each)
    raise InputError(f"{name} has axes ({' '.join(axes)}), none called {' or '.join(wanted)}: pass axis= one of them")
