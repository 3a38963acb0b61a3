"""Next-token loss, on all positions and on those that context predicts."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from toy_models.tasks.base import Batch


@dataclass(frozen=True)
class Losses:
    """Mean next-token cross-entropy in nats; `predictable` is None if no position can be predicted."""

    all: float
    predictable: float | None


def next_token_loss(logits: Float[Tensor, "batch pos d_vocab"], tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, ""]:
    """Mean over batch and positions of -ln p(token at i + 1 | tokens up to i), in nats."""
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())


def batch_losses(logits: Float[Tensor, "batch pos d_vocab"], batch: Batch) -> Losses:
    """Losses of logits that were computed from the batch's tokens."""
    return _mean_losses([_summed(logits, batch)])


@torch.no_grad()
def evaluate(model: nn.Module, batch: Batch, chunk: int = 64) -> Losses:
    """Losses of a model on a sample, `chunk` sequences at a time."""
    parts = zip(batch.tokens.split(chunk), batch.predictable.split(chunk), strict=True)
    return _mean_losses([_summed(model(tokens), Batch(tokens, predictable)) for tokens, predictable in parts])


@torch.no_grad()
def _summed(logits: Tensor, batch: Batch) -> Tensor:
    """Summed loss and number of positions, of all and of predictable positions, in float64."""
    each = F.cross_entropy(logits[:, :-1].flatten(0, 1), batch.tokens[:, 1:].flatten(), reduction="none").double()
    scored = batch.predictable[:, 1:].flatten()
    on_scored = torch.where(scored, each, 0.0).sum()
    return torch.stack([each.sum(), torch.ones_like(each).sum(), on_scored, scored.sum().double()])


def _mean_losses(summed: list[Tensor]) -> Losses:
    all_sum, all_count, predictable_sum, predictable_count = torch.stack(summed).sum(0).tolist()
    return Losses(all_sum / all_count, predictable_sum / predictable_count if predictable_count else None)
