"""Clean and corrupted tokens for handmade models, with what a patch must do known beforehand."""

from dataclasses import dataclass

import torch
from torch import Tensor

from interp.patching import Metric, logit_difference
from toy_models import handmade
from toy_models.transformer import Transformer

PERIOD, COPY, QUERY = 10, 5, 15
"""A token stands at COPY and, one block later, at QUERY, where the model predicts what followed it."""
CLEAN = 12.0
"""Right minus wrong logit where an induction head finds the copy."""
EVEN = 12 / 16
"""The same where it attends to all 16 positions evenly; the right token stands at one of them."""


@dataclass(frozen=True)
class Pair:
    model: Transformer
    clean: Tensor
    corrupted: Tensor
    metric: Metric


def pair(name: str, changed: int, n: int = 4, answer: int = COPY + 1, **options: object) -> Pair:
    """Token 0, then the same block twice; in the corrupted rows the token at `changed` is one that is nowhere else.

    Rows hold the block shifted round, so that no two have the same token in the same place.
    """
    made = handmade.make(name, **options)
    block = 1 + (torch.arange(PERIOD) + torch.arange(n)[:, None]) % PERIOD
    clean = torch.cat([torch.zeros(n, 1, dtype=torch.long), block, block], dim=1)
    corrupted = clean.clone()
    corrupted[:, changed] = 12
    right = clean[:, answer]
    return Pair(made.model, clean, corrupted, logit_difference(right, torch.full_like(right, 14), QUERY))
