"""What kinds of composition there are, and what is refused before any of them is measured."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Bool
from torch import Tensor

from interp.errors import InputError
from interp.names import Head
from interp.weights import TransformerWeights

Kind = Literal["Q", "K", "V"]
"""Through which input of the later head it reads the earlier one: queries, keys or values."""


def check_kind(kind: str) -> None:
    if kind not in get_args(Kind):
        raise InputError(f"composition is of kind 'Q', 'K' or 'V', got {kind!r}")


def check_pair(w: TransformerWeights, earlier: tuple[int, int], later: tuple[int, int]) -> None:
    """`InputError` unless both heads exist and the first is in an earlier layer."""
    w.check_head(earlier)
    w.check_head(later)
    if earlier[0] >= later[0]:
        raise InputError(f"{Head(*earlier)} is not in an earlier layer than {Head(*later)}, so it cannot feed it")


def check_finite(w: TransformerWeights) -> None:
    """`InputError` naming the first attention weight that holds NaN or infinity."""
    for name in ("W_E", "W_Q", "W_K", "W_V", "W_O"):
        if not bool(getattr(w, name).isfinite().all()):
            raise InputError(f"weights must be finite numbers, {name} holds NaN or infinity: did training diverge?")


def checked_offsets(w: TransformerWeights, kind: Kind, offsets: int | Sequence[int] | None) -> tuple[int, ...]:
    """The offsets = dest - src to measure at: (0,) where nothing depends on them.

    Raises `InputError` for another kind, for weights that are not finite, or for rotary positions without offsets.
    """
    check_kind(kind)
    check_finite(w)
    if not needs_offset(w, kind):
        return (0,)
    chosen = (offsets,) if isinstance(offsets, int) else tuple(offsets or ())
    if not chosen:
        raise InputError(
            f"with rotary positions {kind}-composition depends on dest - src: pass offsets=1, or several, for example "
            f"offsets=range({w.n_ctx})"
        )
    return chosen


def widened(w: TransformerWeights) -> TransformerWeights:
    """Weights of 16 bits as float32, which holds them exactly: no ratio of norms is worked out in less."""
    return w.to(torch.float32) if w.dtype in (torch.float16, torch.bfloat16) else w


def needs_offset(w: TransformerWeights, kind: Kind) -> bool:
    """Whether there is a score for each offset: Q and K with rotary positions."""
    return w.rotary_base is not None and kind != "V"


def is_pair(w: TransformerWeights) -> Bool[Tensor, "layer head layer head"]:
    """Whether the first head is in an earlier layer."""
    layers = torch.arange(w.n_layers)
    earlier = layers[:, None, None, None] < layers[None, None, :, None]
    return earlier.expand(w.n_layers, w.n_heads, w.n_layers, w.n_heads)
