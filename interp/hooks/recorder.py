"""Keeping the values that pass while `record` runs a model."""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import torch
from torch import Tensor

from interp.errors import InputError
from interp.hooks.activations import Activations, Axes, UnknownName, nearest
from interp.hooks.nested import replaced, spell, tensors_in
from interp.hooks.sites import Hook
from interp.hooks.targets import Target

Reduce = Callable[[Tensor], Tensor]
Sink = Callable[[str, Tensor], object]

NEVER_RAN = "the model did not run that module in this forward pass, or it returned no tensor there"
IN_PLACE = "with grad=True, and at hook points with named axes, the model must not work in place: x = x + y, not x += y"


@dataclass(frozen=True)
class Keeping:
    """What to keep of each value, in this order: positions, a reduction, dtype, device; then stored, or to the sink."""

    positions: slice | list[int] | None = None
    reduce: Reduce | Mapping[str, Reduce] | None = None
    dtype: torch.dtype | None = None
    device: torch.device | None = None
    sink: Sink | None = None
    grad: bool = False

    def reduction(self, name: str) -> Reduce | None:
        """The reduction for a point: the same for all, or by name or glob."""
        if not isinstance(self.reduce, Mapping):
            return self.reduce
        if name in self.reduce:
            return self.reduce[name]
        return next((r for pattern, r in self.reduce.items() if fnmatchcase(name, pattern)), None)


class Kept(NamedTuple):
    target: Target
    call: int
    part: str  # which tensor of several, as "[1]"
    tensor: Tensor | None  # None if it went to the sink
    version: int | None  # how often it had been written to in place; None if nobody else has it

    @property
    def name(self) -> str:
        return self.target.name + self.part

    @property
    def full_name(self) -> str:
        return f"{self.target.name}#{self.call}{self.part}"


class Recorder:
    """Gathers what passes during one forward pass in this thread."""

    def __init__(self, tensors: Iterable[Tensor], keeping: Keeping):
        """`tensors` are the model's and the caller's: memory that somebody may write to later."""
        self.keeping = keeping
        self.whole = keeping == Keeping(sink=keeping.sink, grad=keeping.grad)
        self.kept: list[Kept] = []
        self.problems: dict[str, str] = {}
        self.sent: dict[str, int] = {}
        """Which run of its module the sink got a value of."""
        self.copying_from: set[torch.device] = set()
        """GPUs with copies under way."""
        self.thread = threading.get_ident()
        self.theirs = {tensor.untyped_storage().data_ptr() for tensor in tensors}

    def hook(self, targets: list[Target]) -> Hook:
        """What to put at the one place that these targets share."""
        calls = 0

        def on_value(value: Any) -> Any:
            nonlocal calls
            if threading.get_ident() != self.thread:
                return None
            for target in targets:
                if target.call is None or target.call == calls:
                    value = self.keep(target, calls, value)
            calls += 1
            return value

        return on_value

    def keep(self, target: Target, call: int, value: Any) -> Any:
        """Keeps what the target asks for; returns what the model goes on with."""
        if target.site.problem is not None and (problem := target.site.problem(value)):
            self.problems[target.name] = problem
            return value
        for path, tensor in [((), value)] if isinstance(value, Tensor) else list(tensors_in(value)):
            if target.path is not None and path[: len(target.path)] != target.path:
                continue
            part = self.own(target, tensor, tensor if self.whole else self.part(target, tensor))
            if self.keeping.sink is not None:
                self.hand_over(Kept(target, call, spell(path), None, None), part)
                continue
            self.kept.append(Kept(target, call, spell(path), part, part._version if part is tensor else None))
            if part is tensor and not target.site.keeps_still:
                value = replaced(value, path, Tensor.clone)  # gradients reach the kept one; others write to the copy
        return value

    def part(self, target: Target, value: Tensor) -> Tensor:
        """What of the value is asked for."""
        keeping = self.keeping
        if keeping.positions is not None:
            value = at_positions(target.name, target.axes, value, keeping.positions)
        if (reduction := keeping.reduction(target.name)) is not None:
            value = reduction(value)
            if not isinstance(value, Tensor):
                raise InputError(f"the reduction of {target.name} must return a tensor, got {type(value).__name__}")
        if keeping.dtype is not None and value.is_floating_point():
            value = value.to(keeping.dtype)
        if keeping.device is not None and value.device != keeping.device:
            value = self.moved(value, keeping.device)
        return value

    def own(self, target: Target, value: Tensor, part: Tensor) -> Tensor:
        """The part, in memory that nobody will write to: a copy, unless it has left the value's memory already."""
        if self.keeping.grad:
            return part
        memory = part.untyped_storage().data_ptr()
        if part is value:
            stays = target.site.keeps_still and memory not in self.theirs and not value.is_inference()
            return part if stays else own_copy(part)
        return own_copy(part) if memory == value.untyped_storage().data_ptr() else part

    def moved(self, part: Tensor, device: torch.device) -> Tensor:
        """A copy on `device`; one from a GPU to the CPU goes on in the background until `wait`."""
        if self.keeping.grad or device.type != "cpu" or part.device.type != "cuda":
            return part.to(device)
        self.copying_from.add(part.device)
        return torch.empty(part.shape, dtype=part.dtype, pin_memory=True).copy_(part, non_blocking=True)

    def hand_over(self, kept: Kept, part: Tensor) -> None:
        """To the sink."""
        if kept.target.call is None and self.sent.setdefault(kept.name, kept.call) != kept.call:
            raise InputError(f"{kept.target.name} runs several times: name the run for the sink, {kept.full_name}")
        self.wait()
        assert self.keeping.sink is not None
        self.keeping.sink(kept.name if kept.target.call is None else kept.full_name, part)
        self.kept.append(kept)

    def wait(self) -> None:
        for device in self.copying_from:
            torch.cuda.current_stream(device).synchronize()
        self.copying_from.clear()

    def finish(self, wanted: Mapping[str, list[Target]], output: Any) -> Activations:
        """The activations; `InputError` for what was asked for and did not pass."""
        self.wait()
        passed = {(k.target.name, k.target.call) for k in self.kept}
        for name, targets in wanted.items():
            if all((t.name, t.call) not in passed for t in targets):
                reasons = [self.problems[t.name] for t in targets if t.name in self.problems]
                raise InputError(f"nothing was recorded at {name!r}: {reasons[0] if reasons else NEVER_RAN}")
        silent = tuple(t.name for ts in wanted.values() for t in ts if (t.name, t.call) not in passed)
        several = {kept.target.name for kept in self.kept if kept.call > 0}
        values: dict[str, Tensor] = {}
        axes: dict[str, Axes | None] = {}
        for kept in self.kept:
            if kept.tensor is None:
                continue
            if kept.version is not None and kept.tensor._version != kept.version:
                raise InputError(f"the model wrote into the value of {kept.name} after it passed ({IN_PLACE})")
            numbered = kept.target.call is not None or kept.target.name in several
            name = kept.full_name if numbered else kept.name
            values[name] = kept.tensor
            fits = kept.target.axes is not None and len(kept.target.axes) == kept.tensor.ndim
            axes[name] = kept.target.axes if fits and self.keeping.reduction(kept.target.name) is None else None
        return Activations(values, output, axes, silent)


def own_copy(tensor: Tensor) -> Tensor:
    """A copy that shares no memory with the original; an expanded axis (a table for every sample) stays expanded."""
    narrow = tensor[tuple(slice(0, 1) if stride == 0 else slice(None) for stride in tensor.stride())]
    return narrow.clone().expand_as(tensor)


def at_positions(name: str, axes: Axes | None, value: Tensor, positions: slice | list[int]) -> Tensor:
    """`value` at some positions of its axis `pos` or `dest`; of axis 1 where the axes have no names."""
    if axes is not None and not {"pos", "dest"} & set(axes):
        raise InputError(f"{name} has axes ({' '.join(axes)}) and so no positions; record it without positions=")
    axis = 1 if axes is None else axes.index("pos" if "pos" in axes else "dest")
    if value.ndim <= axis or (axes is not None and value.ndim != len(axes)):
        expected = "a position axis 1" if axes is None else f"axes ({' '.join(axes)})"
        raise InputError(f"{name} should have {expected}, its value is {list(value.shape)}")
    if isinstance(positions, slice):
        return value[(slice(None),) * axis + (positions,)]
    size = value.shape[axis]
    if outside := [p for p in positions if not -size <= p < size]:
        raise InputError(f"{name} has positions 0 to {size - 1}, there is no position {outside[0]}")
    return value.index_select(axis, torch.tensor([p % size for p in positions], device=value.device))


def check_reductions(reduce: object, targets: Iterable[Target]) -> None:
    """`InputError` if a name or glob in a dict of reductions means none of the recorded points."""
    names = [target.name for target in targets]
    for pattern in reduce if isinstance(reduce, Mapping) else ():
        if not any(fnmatchcase(name, pattern) for name in names):
            raise UnknownName(f"reduce has {pattern!r}, which is not recorded; {nearest(pattern, names)}")
