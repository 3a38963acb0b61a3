"""What breaks when several heads are removed together, beside random sets of as many heads."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from interp.ablation.heads import removal_effect
from interp.ablation.losses import scored_masks, sequence_means
from interp.ablation.random_sets import random_sets
from interp.ablation.removal import Over, To, removal
from interp.errors import InputError
from interp.inputs import checked
from interp.names import Head, check
from interp.stats import Estimate, Null, bootstrap_interval, monte_carlo_p_value, null_summary
from interp.weights.shape import shape_of


@dataclass(frozen=True, eq=False)
class SetEffect:
    """Effect of removing several heads together, beside that of random sets of as many heads."""

    heads: tuple[Head, ...]
    loss: Estimate
    logit: Estimate
    probability: Estimate
    elsewhere: Estimate | None
    """Loss at the tokens that are not scored."""
    random: Null | None
    """The loss effect of other sets; None if there are fewer than two."""
    random_losses: Float[Tensor, " draw"]
    p_value: float | None
    """(1 + sets that cost at least as much) / (1 + sets)."""

    def to_dict(self) -> dict[str, Any]:
        parts = {name: getattr(self, name) for name in ("loss", "logit", "probability", "elsewhere", "random")}
        return {"heads": [str(head) for head in self.heads], "p_value": self.p_value} | {
            name: part and part.to_dict() for name, part in parts.items()
        }


@checked
def set_effect(
    model: nn.Module,
    heads: Iterable[Head],
    tokens: Int[Tensor, "batch pos"],
    scored: Bool[Tensor, "batch pos"],
    generator: torch.Generator,
    *,
    to: To = "mean",
    over: Over = "batch and positions",
    reference: Int[Tensor, "reference_batch reference_pos"] | None = None,
    hold_patterns: bool = False,
    n_random: int = 30,
    level: float = 0.95,
) -> SetEffect:
    """These heads removed together, and `n_random` other sets of as many heads (all, if there are not more).

    The random sets avoid the named heads if enough others are left, else they only differ from the named set.
    """
    shape, masks = shape_of(model), scored_masks(tokens, scored)
    chosen = tuple(sorted({check(Head(*head), shape.n_layers, shape.n_heads) for head in heads}))
    if not chosen:
        raise InputError("name at least one head to remove")
    how = removal(model, tokens, to, over, reference, generator, hold_patterns=hold_patterns)
    intact = sequence_means(model, tokens, masks)
    effect = removal_effect(model, tokens, masks, how, chosen, intact)
    others, description = random_sets([(shape.heads, chosen)], n_random, generator)
    losses = torch.tensor(
        [float(removal_effect(model, tokens, masks, how, each, intact)[0, 0].nanmean()) for each in others],
        dtype=torch.float64,
    )
    rows = ~intact[0, 0].isnan()
    elsewhere = effect[1, 0, rows]
    loss, logit, probability = (bootstrap_interval(values[rows], generator, level) for values in effect[0])
    return SetEffect(
        chosen,
        loss,
        logit,
        probability,
        None if bool(elsewhere.isnan().any()) else bootstrap_interval(elsewhere, generator, level),
        null_summary(losses, description) if len(losses) > 1 else None,
        losses,
        monte_carlo_p_value(loss.mean, losses) if len(losses) else None,
    )
