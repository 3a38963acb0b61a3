"""How many sequences run at once, so that their logits fit in memory."""

from collections.abc import Iterator

from torch import Tensor, nn

from interp.weights.shape import shape_of

MAX_LOGITS = 2**26
"""Logits of one forward pass, 256 MB in float32: 13 sequences of 101 tokens from a vocabulary of 49,152."""


def sequences_at_once(model: nn.Module, length: int) -> int:
    """The largest batch of sequences of this length whose logits are at most `MAX_LOGITS`, at least one."""
    return max(1, MAX_LOGITS // (length * shape_of(model).d_vocab))


def parts(model: nn.Module, tokens: Tensor, largest: int | None = None) -> Iterator[slice]:
    """Consecutive slices of `tokens` that run at once, none longer than `largest`."""
    size = sequences_at_once(model, tokens.shape[1])
    size = size if largest is None else min(size, largest)
    return (slice(start, start + size) for start in range(0, len(tokens), size))
