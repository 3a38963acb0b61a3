"""What ideal readers lose at each position of a protocol: one that may use everything, and one that only counts."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.heads.stimuli import Protocol


@dataclass(frozen=True, eq=False)
class ReaderLosses:
    """Exact losses at positions 1, 2, ..., nats, of readers that know how the sequences are made."""

    best: Float[Tensor, " place"]
    """Nobody can have less."""
    order_free: Float[Tensor, " place"]
    """Nobody can who knows the position and how often each token came, but not in which order."""

    def gain(self, predictable: Tensor) -> tuple[float, float]:
        """Mean loss at the unpredictable minus that at the predictable positions (`[pos]`), of both readers."""
        inside = predictable[1:]
        best, counting = (
            float(losses[~inside].mean() - losses[inside].mean()) for losses in (self.best, self.order_free)
        )
        return best, counting

    def to_dict(self) -> dict[str, Any]:
        return {"best": self.best.tolist(), "order_free": self.order_free.tolist()}


def reader_losses(protocol: Protocol) -> ReaderLosses | None:
    """Both readers on `repeated_tokens(protocol, ...)`; None where a block may repeat tokens (no closed form here).

    With n symbols and blocks of P different tokens, at offset i of a block: in the first block ln(n - i) for both, as
    the tokens that came are out; in the (k + 1)-th, k >= 1, the best reader repeats the block and loses 0, while the
    counting one knows only that the next is one of the P - i tokens that came k times, and loses ln(P - i).
    """
    if not protocol.distinct:
        return None
    offsets = torch.arange(protocol.period, dtype=torch.float64)
    first = (len(protocol.symbols) - offsets).log()
    later = (protocol.period - offsets).log()
    times = protocol.repeats - 1
    best = torch.cat([first, torch.zeros(times * protocol.period, dtype=torch.float64)])
    order_free = torch.cat([first, later.repeat(times)])
    skipped = 1 - protocol.start  # without BOS nothing predicts the first token of the first block
    return ReaderLosses(best[skipped:], order_free[skipped:])
