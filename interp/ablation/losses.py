"""Loss, logit and probability of the tokens that come, averaged over chosen tokens of each sequence."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from interp.causality import require_causal
from interp.errors import InputError
from interp.finite import require_finite

QUANTITIES = {"loss": "nats per token", "logit": "logits", "probability": "probability"}
"""What is measured of each token, in this order, and in which unit."""

AT_ONCE = 2**24
"""Logits that are turned to float64 at once."""


def token_losses(
    logits: Float[Tensor, "batch pos d_vocab"], tokens: Int[Tensor, "batch pos"]
) -> Float[Tensor, "batch pos"]:
    """-ln p(token at i | tokens before i) in nats, float64; 0 at position 0, which nothing predicts."""
    return target_values(logits, tokens)[0]


def scored_masks(tokens: Int[Tensor, "batch pos"], scored: Tensor) -> Bool[Tensor, "which batch pos"]:
    """The scored tokens, and all others but those at position 0; `InputError` for a mask that cannot be meant."""
    if scored.shape != tokens.shape or scored.dtype != torch.bool:
        raise InputError(
            f"scored must be true or false for each of the tokens {list(tokens.shape)}, got {scored.dtype} "
            f"{list(scored.shape)}"
        )
    if bool(scored[:, 0].any()):
        raise InputError("the token at position 0 cannot be scored: there is nothing before it to predict it from")
    if int(scored.any(1).sum()) < 2:
        raise InputError("an interval over sequences needs scored tokens in at least two of them")
    rest = ~scored
    rest[:, 0] = False
    return torch.stack([scored, rest])


@torch.no_grad()
def sequence_means(
    model: nn.Module, tokens: Int[Tensor, "batch pos"], masks: Bool[Tensor, "which batch pos"]
) -> Float[Tensor, "which quantity batch"]:
    """Loss, logit and probability of the tokens in each mask, averaged over a sequence; NaN where it has none."""
    require_causal(model, "the loss of the next token")
    tokens = tokens.to(device_of(model))
    return masked_means(target_values(model(tokens), tokens), masks)


def masked_means(
    values: Float[Tensor, "quantity batch pos"], masks: Bool[Tensor, "which batch pos"]
) -> Float[Tensor, "which quantity batch"]:
    """Means over each mask's positions, on the CPU."""
    weights = masks.to(values)
    return (torch.einsum("qbp,wbp->wqb", values, weights) / weights.sum(-1)[:, None]).cpu()


def target_values(logits: Tensor, tokens: Tensor) -> Float[Tensor, "quantity batch pos"]:
    """Loss, logit and probability of each token, from the position before; 0 at position 0."""
    require_finite("the logits", logits)
    size = max(1, AT_ONCE // max(1, logits[0].numel())) if len(logits) else 1
    pairs = zip(logits.split(size), tokens.split(size), strict=True)
    return torch.cat([_target_values(*pair) for pair in pairs], dim=1)


def _target_values(logits: Tensor, tokens: Tensor) -> Float[Tensor, "quantity batch pos"]:
    before = logits[:, :-1].double()
    target = tokens[:, 1:, None]
    loss = -before.log_softmax(-1).gather(-1, target)
    values = torch.stack([loss, before.gather(-1, target), (-loss).exp()])
    return nn.functional.pad(values.squeeze(-1), (1, 0))


def device_of(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
