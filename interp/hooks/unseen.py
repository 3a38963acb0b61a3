"""What hooks cannot see in a model: values that no module gives out, values overwritten later, modules run twice."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from interp.errors import InputError
from interp.hooks.nested import tensors_in
from interp.hooks.untouched import tensors_of, untouched


@dataclass(frozen=True)
class Operation:
    """A call of a torch function inside `module` (its path, "" for the model itself), `times` in one forward pass."""

    module: str
    name: str
    shape: tuple[int, ...]
    """Of the value it gives; of the first, where there are several."""
    view: bool = False
    """Whether it only arranges anew what was there, as flatten does: the same numbers."""
    overwrites: tuple[str, ...] = ()
    """Modules whose output it writes into: what passed there is gone when the model is done."""
    times: int = 1

    def __str__(self) -> str:
        where = self.module or "the model itself"
        times = f", {self.times} times" if self.times > 1 else ""
        over = f", into the output of {', '.join(self.overwrites)}" if self.overwrites else ""
        return f"{self.name} in {where} ({' x '.join(map(str, self.shape))}){times}{over}"


@dataclass(frozen=True)
class Unseen:
    """What `record` and `intervene` cannot reach, or not under a plain name."""

    unseen: tuple[Operation, ...]
    """Operations whose value is no module's output."""
    in_place: tuple[Operation, ...]
    """Operations that write into a value which was there before; `record` copies such values before they change."""
    reused: Mapping[str, int]
    """Modules that run more than once in a forward pass, and how often: `name#0`, `name#1` tell the runs apart."""
    silent: tuple[str, ...]
    """Modules without children that never run."""
    seen: int
    """Operations, outside modules of torch.nn too, whose value is the output of some module."""

    @property
    def computed(self) -> tuple[Operation, ...]:
        """The unseen operations that give new numbers: all but views."""
        return tuple(operation for operation in self.unseen if not operation.view)

    def __str__(self) -> str:
        groups = {
            "no module gives out": [*map(str, self.unseen)],
            "in place": [*map(str, self.in_place)],
            "runs more than once": [f"{name} ({times} times)" for name, times in self.reused.items()],
            "never runs": list(self.silent),
        }
        lines = [f"{what}: {each}" for what, found in groups.items() for each in found]
        return "\n".join(lines) or "hooks see every value"

    def to_dict(self) -> dict[str, Any]:
        parts = {name: [vars(each) for each in getattr(self, name)] for name in ("unseen", "in_place")}
        return parts | {"reused": dict(self.reused), "silent": list(self.silent), "seen": self.seen}


def unseen_operations(model: nn.Module, *inputs: Any, **kwargs: Any) -> Unseen:
    """Runs `model(*inputs, **kwargs)` once, in its present mode, and lists what hooks on modules do not see of it.

    Followed are floating-point values that depend on the inputs, through every torch function that is called; a value
    is seen if it is the output of some module at the moment at which that module is done. So `F.relu(x)` in the middle
    of a forward pass is unseen, as the last operation of a module it is that module's output, and passed through a hook
    point it is seen there. What runs inside compiled or scripted code is not followed. The model is left as it was.
    Raises `InputError` for inputs without a floating-point tensor.
    """
    given = [tensor for _, tensor in tensors_in((inputs, kwargs))]
    if not any(tensor.is_floating_point() for tensor in given):
        raise InputError("unseen_operations follows floating-point inputs through the model, got none")
    trace = _Trace(model, given)
    with torch.no_grad(), untouched(tensors_of(model)), trace.following(), _Functions(trace):
        model(*inputs, **kwargs)
    return trace.result()


@dataclass
class _Call:
    module: str
    name: str
    value: Tensor
    key: tuple[int, int]
    view: bool
    in_place: bool
    overwrites: tuple[str, ...]

    @property
    def operation(self) -> Operation:
        return Operation(self.module, self.name, tuple(self.value.shape), self.view, self.overwrites)


class _Trace:
    """One forward pass: calls of functions, outputs of modules. Values are kept, so that no id comes twice."""

    def __init__(self, model: nn.Module, given: list[Tensor]):
        self.model = model
        self.paths = {id(module): name for name, module in model.named_modules()}
        self.runs: Counter[str] = Counter()
        self.stack: list[str] = []
        self.calls: list[_Call] = []
        self.outputs: set[tuple[int, int]] = set()
        self.given_out: dict[int, list[str]] = {}
        """The modules whose output lies in a piece of memory, innermost first, by where the memory begins."""
        self.kept = list(given)
        self.followed = {id(tensor) for tensor in given if tensor.is_floating_point()}

    @contextmanager
    def following(self) -> Iterator[None]:
        def starts(module: nn.Module, _: Any) -> None:
            self.stack.append(self.paths[id(module)])
            self.runs[self.stack[-1]] += 1

        def ends(module: nn.Module, _: Any, value: Any) -> None:
            name = self.stack.pop()
            for _, tensor in tensors_in(value):
                self.kept.append(tensor)
                self.outputs.add(_key(tensor))
                self.given_out.setdefault(_memory(tensor), []).append(name)

        removers = []
        try:
            for module in self.model.modules():
                removers.append(module.register_forward_pre_hook(starts, prepend=True))
                removers.append(module.register_forward_hook(ends))
            yield
        finally:
            for remover in removers:
                remover.remove()

    def follow(self, function: Callable[..., Any], arguments: list[Tensor], call: Callable[[], Any]) -> Any:
        """Makes the call, and notes it if it turns followed values into a floating-point one."""
        before = [_key(tensor) for tensor in arguments]
        value = call()
        if not self.followed & {id(tensor) for tensor in arguments}:
            return value
        changed = [t for t, key in zip(arguments, before, strict=True) if _key(t) != key]
        made = [t for _, t in tensors_in(value) if t.is_floating_point() and _key(t) not in before] or changed
        for tensor in made:
            self.kept.append(tensor)
            self.followed.add(id(tensor))
        if made:
            over = tuple(dict.fromkeys(name for t in changed for name in self.given_out.get(_memory(t), ()) if name))
            view = not changed and _memory(made[0]) in map(_memory, arguments)
            self.calls.append(_Call(self.stack[-1], _name(function), made[0], _key(made[0]), view, bool(changed), over))
        return value

    def result(self) -> Unseen:
        leaves = [name for name, m in self.model.named_modules() if name and not any(m.children())]
        unseen = [call.operation for call in self.calls if call.key not in self.outputs]
        return Unseen(
            _counted(unseen),
            _counted([call.operation for call in self.calls if call.in_place]),
            {name: times for name, times in self.runs.items() if times > 1},
            tuple(name for name in leaves if not self.runs[name]),
            len(self.calls) - len(unseen),
        )


class _Functions(TorchFunctionMode):
    """Hands every torch function that is called to a trace; what a function calls itself is part of it."""

    def __init__(self, trace: _Trace):
        super().__init__()
        self.trace = trace

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        arguments = [tensor for _, tensor in tensors_in((args, kwargs))]
        return self.trace.follow(func, arguments, lambda: func(*args, **kwargs))


def _key(tensor: Tensor) -> tuple[int, int]:
    """The tensor as it is now: its id, and how often it was written into."""
    return id(tensor), tensor._version


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _name(function: Any) -> str:
    """`relu`, `add` (also of +), `T` of a property."""
    name = getattr(function, "__name__", type(function).__name__)
    if name == "__get__":
        name = getattr(function.__self__, "__name__", name)
    return name.strip("_").removeprefix("i") if name in IN_PLACE_OPERATORS else name.strip("_")


IN_PLACE_OPERATORS = ("__iadd__", "__isub__", "__imul__", "__itruediv__")


def _counted(operations: list[Operation]) -> tuple[Operation, ...]:
    """Equal ones once, with how often, in order of the first."""
    return tuple(Operation(**{**vars(o), "times": n}) for o, n in Counter(operations).items())
