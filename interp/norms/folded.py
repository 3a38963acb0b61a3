"""What folding a normalisation into the weights changes, in numbers beside the sentences of `weights_of`."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from interp.inputs import checked
from interp.norms.reads import CENTRED, Read, gains, reads_of
from interp.weights import TransformerWeights
from interp.weights.folding import fold, writers


@dataclass(frozen=True)
class FoldingAccount:
    """What `fold` takes out of a model's weights, and what it has to leave."""

    centred: dict[str, float]
    """Of each tensor that writes into the stream, the share of its squared norm that is its mean over d_model: nothing
    reads it, and folding takes it out. Empty for the RMS kinds."""
    chance: float
    """That share in random weights: 1 / d_model."""
    gains: dict[str, tuple[float, float]]
    """Smallest and largest gain of each read; 1 and 1 would change nothing."""
    sentences: tuple[str, ...]
    """What was done and what remains, in words."""

    def to_dict(self) -> dict[str, Any]:
        return vars(self) | {"sentences": list(self.sentences)}


@checked
def folding_account(w: TransformerWeights) -> FoldingAccount:
    """The account of `weights_of(model, fold=False)`.

    Raises `InputError` for a model without normalisation (or with weights folded before), and as `fold` does.
    """
    reads = reads_of(w)
    centred = {}
    if w.normalization in CENTRED:
        centred = {name: mean_share(getattr(w, name)) for name in writers(w) if bool(getattr(w, name).any())}
    found = {str(read): _extremes(w, read) for read in reads}
    learned = {name: pair for name, pair in found.items() if pair is not None}
    return FoldingAccount(centred, 1 / w.d_model, learned, fold(w).folded)


def mean_share(W: Tensor) -> float:
    """d_model * sum mean(x)² / sum |x|² over the vectors x that a tensor writes."""
    x = W.double()
    return float(x.shape[-1] * x.mean(-1).square().sum() / x.square().sum())


def _extremes(w: TransformerWeights, read: Read) -> tuple[float, float] | None:
    gain, _ = gains(w, read)
    return None if gain is None else (float(torch.min(gain)), float(torch.max(gain)))
