"""Activation patching: a value of one run put into another, at every place of a map, and what that does to a metric.

*Denoising* runs on corrupted tokens and puts clean activations in: which of them are enough to restore the behaviour?
*Noising* runs on clean tokens and puts corrupted ones in: which are needed? The two differ where several places can
stand in for each other (Heimersheim & Nanda 2024, "How to use and interpret activation patching", arXiv:2404.15255).
With sequences b and means over them,

    effect = mean_b(patched - base)        share = mean_b(patched - base) / mean_b(other - base)

Everything after the patched place reacts to it; `interp.patching.paths` holds all but one path.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from interp.errors import InputError
from interp.hooks import record
from interp.inputs import checked
from interp.patching.metrics import Metric
from interp.patching.patch_map import PatchMap, patch_map
from interp.patching.runs import BATCH_SIZE, Direction, Edits, Runs, two_runs

Index = tuple[slice | int, ...]
ALSO_CALLED = {"pos": ("pos", "dest"), "head": ("head", "unit")}


@dataclass(frozen=True)
class Cells:
    """The places of a map: every point, and every index of it along the chosen axes."""

    points: tuple[str, ...]
    by: tuple[str, ...]
    dims: dict[str, tuple[int, ...]]
    """Of each point's value, which dimension each of `by` is."""
    sizes: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.points), *self.sizes)

    @property
    def labels(self) -> dict[str, tuple[str, ...]]:
        along = {axis: tuple(map(str, range(size))) for axis, size in zip(self.by, self.sizes, strict=True)}
        return {"point": self.points} | along

    @property
    def all(self) -> list[tuple[str, Index]]:
        """Each cell's point, and its index behind the batch axis."""
        return [(point, self._index(point, at)) for point in self.points for at in product(*map(range, self.sizes))]

    def _index(self, point: str, at: tuple[int, ...]) -> Index:
        index: list[slice | int] = [slice(None)] * max(self.dims[point], default=0)
        for dim, place in zip(self.dims[point], at, strict=True):
            index[dim - 1] = place
        return tuple(index)


@checked
def activation_patches(
    model: nn.Module,
    clean: Int[Tensor, "batch pos"],
    corrupted: Int[Tensor, "corrupted_batch corrupted_pos"],
    metric: Metric,
    generator: torch.Generator,
    *,
    names: str | Iterable[str],
    by: Iterable[str] = (),
    direction: Direction = "denoising",
    control: bool = True,
    level: float = 0.95,
    batch_size: int = BATCH_SIZE,
    axes: Mapping[str, str] | None = None,
) -> PatchMap:
    """The effect of patching every place of a map `[point *by]`, each by itself.

    names: hook points or globs, as for `record`: `names="blocks.*.attn.hook_z", by=("head",)` is a map layer x head,
        `names="blocks.*.hook_resid_pre", by=("pos",)` layer x position.
    by: axes of the points to go along, as they are named; "pos" also finds "dest", "head" also "unit". None: each
        point as a whole, at all positions.
    metric: of the run on clean or corrupted tokens alike, one number a sequence (see `interp.patching.metrics`).
    control: also patch activations of another sequence (a derangement of the batch), at twice the cost. That is the
        null here: every other head is in the map itself, and a random head would be one of those.
    batch_size: sequences in one forward pass, over all patches; the result does not depend on it.
    axes: names of axes for modules that have none.

    Intervals are over sequences, at `level`; shares are refused where other - base cannot be told from 0.
    Raises `InputError` for tokens, names and axes that cannot be, and for points of different sizes in one map.
    """
    runs = two_runs(model, clean, corrupted, metric, generator, direction, batch_size)
    cells = cells_of(runs, names, by, axes)
    effect = effects(runs, runs.other, cells, range(len(cells.all)), axes)
    null = effects(runs, runs.swapped, cells, range(len(cells.all)), axes) if control else None
    return patch_map(
        cells.labels,
        runs,
        effect.unflatten(1, cells.shape),
        None if null is None else null.unflatten(1, cells.shape),
        generator,
        text=f"{len(clean)} sequences; activations patched, what comes after them recomputed",
        level=level,
    )


def effects(
    runs: Runs,
    source: Int[Tensor, "batch pos"],
    cells: Cells,
    chosen: Iterable[int],
    axes: Mapping[str, str] | None = None,
) -> Float[Tensor, "batch chosen"]:
    """Patched minus base of the chosen cells (by their place in `cells.all`), with activations of a run on `source`."""
    every = cells.all
    which = [every[i] for i in chosen]
    points = list(dict.fromkeys(point for point, _ in which))
    found = []
    for rows in runs.blocks:
        values = record(runs.model, source[rows], names=points, axes=axes)
        patched = runs.measure(rows, len(which), partial(edits, which, values))
        found.append(patched - runs.base_values[rows, None])
    return torch.cat(found)


def edits(every: list[tuple[str, Index]], values: Mapping[str, Tensor], part: range) -> Edits:
    """Edits of a batch that holds the sequences once for each cell of this part: its value put in there alone."""
    cells = every[part.start : part.stop]

    def edit(point: str) -> object:
        source = values[point]
        n = len(source)

        def put(value: Tensor) -> Tensor:
            for place, (where, index) in enumerate(cells):
                if where == point:
                    value[(slice(place * n, (place + 1) * n), *index)] = source[(slice(None), *index)]
            return value

        return put

    return {point: edit(point) for point in dict.fromkeys(point for point, _ in cells)}


def cells_of(runs: Runs, names: str | Iterable[str], by: Iterable[str], axes: Mapping[str, str] | None) -> Cells:
    """The places that names and axes mean; `InputError` where points have no such axes or differ in size."""
    by = (by,) if isinstance(by, str) else tuple(by)
    if len(set(by)) < len(by):
        raise InputError(f"by names an axis twice: {', '.join(by)}")
    seen = record(runs.model, runs.base[:2], names=names, axes=axes)
    dims: dict[str, tuple[int, ...]] = {}
    sizes: dict[str, tuple[int, ...]] = {}
    for name, value in seen.items():
        known = seen.axes.get(name)
        if value.shape[:1] != (2,) or (known is not None and known[0] != "batch"):
            raise InputError(f"{name} does not have one value for each sequence: {list(value.shape)}")
        dims[name] = tuple(_find(axis, name, known) for axis in by)
        sizes[name] = tuple(value.shape[dim] for dim in dims[name])
    first = next(iter(sizes))
    if different := [name for name in sizes if sizes[name] != sizes[first]]:
        raise InputError(
            f"{first} is {list(sizes[first])} along {', '.join(by)}, {different[0]} is {list(sizes[different[0]])}: "
            "patch them in two calls"
        )
    return Cells(tuple(sizes), by, dims, sizes[first])


def _find(axis: str, name: str, axes: tuple[str, ...] | None) -> int:
    if axes is None:
        raise InputError(
            f"the axes of {name} have no names, so there is no {axis}: pass axes={{{name!r}: 'batch ...'}}"
        )
    for each in ALSO_CALLED.get(axis, (axis,)):
        if each in axes[1:]:
            return axes.index(each)
    raise InputError(f"{name} has axes ({' '.join(axes)}), none called {axis}: leave it out of by=")
