"""What `record` gives back: a mapping from names to tensors."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor

from interp.errors import InputError

Axes = tuple[str, ...]


class UnknownName(InputError, KeyError):
    """A name that is not there; both an `InputError` and a `KeyError`."""

    __str__ = Exception.__str__  # KeyError would print the message in quotes


class Activations(Mapping[str, Tensor]):
    """Recorded values by name, in the order in which the model computed them.

    Names of the same value (`blocks.0.hook_resid_post` and `blocks.1.hook_resid_pre`) may share memory: read them,
    do not write to them.
    """

    def __init__(
        self, values: dict[str, Tensor], output: Any, axes: dict[str, Axes | None], silent: tuple[str, ...] = ()
    ):
        self._values = values
        self.output = output
        """What the model returned."""
        self.axes = axes
        """The names of each value's axes, where they are known; not of reduced values."""
        self.silent = silent
        """Points that a glob selected and that no value passed."""

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._values:
            raise UnknownName(f"{name!r} was not recorded; {nearest(name, self._values)}")
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        width = max((len(name) for name in self), default=0)
        lines = [f"Activations of {len(self)} points"]
        for name, value in self.items():
            kind = f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
            axes = self.axes.get(name)
            lines.append(f"  {name:<{width}}  {kind}" + (f"  ({' '.join(axes)})" if axes else ""))
        if self.silent:
            lines.append(f"  and {len(self.silent)} points that no value passed, see .silent")
        return "\n".join(lines)


def nearest(name: str, known: Iterable[str]) -> str:
    """ "did you mean a, b or c?", from the known names that look most like `name`."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5) or names[:3]
    if not close:
        return "there are none"
    *first, last = close
    return f"did you mean {', '.join(first)} or {last}?" if first else f"did you mean {last}?"
