"""The layers of a net as its hook points show them: what each reads, its linear part, what it gives."""

from dataclasses import dataclass

from analyses.units.net import KINDS, Net
from interp.hooks import record


@dataclass(frozen=True)
class Stretch:
    """A layer, or a block of layers with its shortcut, from what it reads to its activation."""

    source: str | None
    """The point at which what it reads passes; None where that is the net's input."""
    pre: str
    """What its first linear map or convolution makes of that."""
    target: str

    @property
    def name(self) -> str:
        """`blocks.0`, say: the module that all of it lies in."""
        return self.target.rpartition(".")[0].removesuffix(".layer") or "hidden"


def stretches(net: Net) -> list[Stretch]:
    """All layers in order; the layers inside a residual block are one with it, since its shortcut passes them by."""
    order = [name for name in record(net.model, net.held_out.inputs[:2]) if kind(name) in KINDS]
    found: list[Stretch] = []
    start = 0
    for place, name in enumerate(order):
        if kind(name) != "post" or ".layers." in name:
            continue
        pre = next((i for i in range(start, place) if kind(order[i]) == "pre"), None)
        if pre is not None:
            found.append(Stretch(order[pre - 1] if pre else None, order[pre], name))
        start = place + 1
    return found


def kind(name: str) -> str:
    """blocks.0.hook_post -> post."""
    return name.rpartition(".")[2].removeprefix("hook_")
