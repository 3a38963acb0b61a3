"""A path through a transformer: where it starts, and the heads it runs through, each in a later layer."""

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from interp.errors import InputError
from interp.names import Head, as_head, check


class Path(NamedTuple):
    """From a source ("token", "position", "bias", "L0 MLP" ..., or "all" of them together) through heads in order."""

    source: str
    heads: tuple[Head, ...] = ()

    @property
    def order(self) -> int:
        """The number of heads."""
        return len(self.heads)

    def then(self, head: Head) -> "Path":
        """The same path, and through one more head."""
        return Path(self.source, (*self.heads, head))

    def __str__(self) -> str:
        return " → ".join([self.source, *map(str, self.heads)])


def checked_chain(heads: Iterable[tuple[int, int] | str], n_layers: int, n_heads: int) -> tuple[Head, ...]:
    """The heads of a chain, each (layer, index) or a name as "L0H1".

    `InputError` for one that does not exist, or that is not later than the one before it.
    """
    chain = tuple(check(as_head(head), n_layers, n_heads) for head in heads)
    for earlier, later in pairwise(chain):
        if earlier.layer >= later.layer:
            raise InputError(
                f"a path runs forward in depth: {later} cannot follow {earlier}, which is in "
                f"{'the same' if later.layer == earlier.layer else 'a later'} layer"
            )
    return chain
