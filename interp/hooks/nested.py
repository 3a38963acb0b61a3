"""Tensors inside tuples, lists and dicts, as modules return them."""

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor

Path = tuple[int | str, ...]
"""How to get from a value to a tensor inside it: (1, 0) for value[1][0]."""


def spell(path: Path) -> str:
    """(1, "keys") -> "[1][keys]"."""
    return "".join(f"[{step}]" for step in path)


def tensors_in(value: Any, path: Path = ()) -> Iterator[tuple[Path, Tensor]]:
    """Every tensor inside tuples, lists and mappings, with the way to it; a tensor is itself, at ()."""
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from tensors_in(item, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from tensors_in(item, (*path, index))


def replaced(value: Any, path: Path, change: Callable[[Any], Any]) -> Any:
    """A shallow copy of `value` whose part at `path` went through `change`; the original stays as it is."""
    if not path:
        return change(value)
    step, rest = path[0], path[1:]
    if isinstance(value, tuple):
        items = [replaced(item, rest, change) if i == step else item for i, item in enumerate(value)]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    new = copy.copy(value)
    new[step] = replaced(value[step], rest, change)
    return new
