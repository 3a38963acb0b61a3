"""Which positions make a prediction that counts."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from interp.errors import InputError


def scored_predictions(
    tokens: Int[Tensor, "batch pos"], scored: Bool[Tensor, "sample position"] | None
) -> Bool[Tensor, "batch predicting"]:
    """Of the positions 0 .. pos - 2, those that predict a token that counts: `scored[b, i]` speaks of the token at i.

    All of them where `scored` is None. Raises `InputError` for sequences of one token or a mask of another shape.
    """
    if tokens.ndim != 2 or tokens.shape[1] < 2:
        raise InputError(f"a prediction needs sequences of at least 2 tokens, got shape {list(tokens.shape)}")
    if scored is None:
        return torch.ones_like(tokens[:, 1:], dtype=torch.bool)
    if scored.shape != tokens.shape:
        raise InputError(f"scored must have the tokens' shape {list(tokens.shape)}, got {list(scored.shape)}")
    return scored[:, 1:].to(tokens.device)
