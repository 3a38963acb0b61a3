"""Do heads stand in for each other? The effect of removing several together, minus the sum of their single effects.

Above 0 in loss, the whole costs more than its parts: one head does the work when the other is gone (redundancy, backup
heads). Below 0, it costs less: the heads are links of one chain, which the first removal already breaks. Loss
saturates, so heads that add to the same logit independently interact in loss, but not in the logit, which is given
beside it. A resampled head is not silent but says something wrong, so that its backup is talked over: redundancy shows
with "mean" and "zero".
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from interp.ablation.heads import removal_effect
from interp.ablation.losses import scored_masks, sequence_means
from interp.ablation.removal import Over, To, removal
from interp.errors import InputError
from interp.names import Head, check
from interp.stats import Estimate, Estimates, benjamini_yekutieli, bootstrap_intervals, sign_flip_p_values
from interp.weights.shape import shape_of

HeadSet = tuple[Head, ...]


@dataclass(frozen=True, eq=False)
class Interactions:
    """What removing sets of heads costs beyond the sum of the single removals, on the scored tokens."""

    sets: tuple[HeadSet, ...]
    loss: Estimates
    """Of each set: effect of the set minus the sum of single effects, nats per token."""
    logit: Estimates
    """The same of the logit of the token that comes; 0 for heads that write to it independently."""
    joint: Estimates
    """Effect of each set on the loss, nats per token."""
    singles: dict[Head, Estimate]
    """Effect of each head by itself on the loss."""
    q_values: Float[Tensor, " set"]
    """Of "the loss interaction is symmetric about 0 over sequences" (sign flips; Benjamini-Yekutieli over the sets)."""
    text: str

    def __getitem__(self, heads: Iterable[Head]) -> Estimate:
        """The loss interaction of one of the sets, in any order; `InputError` for another set."""
        wanted = tuple(sorted(Head(*head) for head in heads))
        if wanted not in self.sets:
            raise InputError(f"the interaction of {_spelled(wanted)} was not measured; {len(self.sets)} sets were")
        return self.loss[self.sets.index(wanted)]

    def to_dict(self) -> dict[str, Any]:
        rows = [
            {
                "heads": [str(head) for head in heads],
                "loss": self.loss[i].to_dict(),
                "logit": self.logit[i].to_dict(),
                "joint": self.joint[i].to_dict(),
                "q_value": float(self.q_values[i]),
            }
            for i, heads in enumerate(self.sets)
        ]
        singles = {str(head): estimate.to_dict() for head, estimate in self.singles.items()}
        return {"protocol": self.text, "sets": rows, "singles": singles}


def interactions(
    model: nn.Module,
    sets: Iterable[Iterable[Head]],
    tokens: Int[Tensor, "batch pos"],
    scored: Bool[Tensor, "batch pos"],
    generator: torch.Generator,
    *,
    to: To = "mean",
    over: Over = "batch and positions",
    reference: Int[Tensor, "reference_batch reference_pos"] | None = None,
    hold_patterns: bool = False,
    level: float = 0.95,
) -> Interactions:
    """effect(S) - sum over h in S of effect({h}), sequence by sequence, for every set S of two heads or more.

    Effects are "removed minus intact", all with the same stand-ins; `to`, `over`, `reference` and `hold_patterns` are
    those of `removal`. Raises `InputError` for sets of fewer than two different heads, and as `head_effects`.
    """
    shape, masks = shape_of(model), scored_masks(tokens, scored)
    chosen = tuple(_checked(heads, shape.n_layers, shape.n_heads) for heads in sets)
    if not chosen:
        raise InputError("name at least one set of two heads or more")
    how = removal(model, tokens, to, over, reference, generator, hold_patterns=hold_patterns)
    intact = sequence_means(model, tokens, masks)
    rows = ~intact[0, 0].isnan()

    def effect(heads: HeadSet) -> Float[Tensor, "n quantity"]:
        return removal_effect(model, tokens, masks, how, heads, intact)[0][:2, rows].T

    alone = {head: effect((head,)) for head in sorted({head for heads in chosen for head in heads})}
    joint = torch.stack([effect(heads) for heads in chosen], dim=1)
    beyond = joint - torch.stack([torch.stack([alone[head] for head in heads]).sum(0) for heads in chosen], dim=1)
    loss, logit, whole = (
        bootstrap_intervals(values, generator, level) for values in (beyond[..., 0], beyond[..., 1], joint[..., 0])
    )
    single = bootstrap_intervals(torch.stack([each[:, 0] for each in alone.values()], dim=1), generator, level)
    q_values = benjamini_yekutieli(sign_flip_p_values(beyond[..., 0], generator))
    text = f"{len(tokens)} sequences, {int(scored.sum())} scored tokens; {how.text}"
    return Interactions(chosen, loss, logit, whole, {head: single[i] for i, head in enumerate(alone)}, q_values, text)


def pairs_within(layer: int, n_heads: int) -> list[HeadSet]:
    """All pairs of heads of a layer: `interactions(model, pairs_within(1, 4), ...)` is the layer's table."""
    return list(combinations((Head(layer, index) for index in range(n_heads)), 2))


def _checked(heads: Iterable[Head], n_layers: int, n_heads: int) -> HeadSet:
    found = tuple(sorted({check(Head(*head), n_layers, n_heads) for head in heads}))
    if len(found) < 2:
        raise InputError(f"an interaction is between two different heads or more, got {_spelled(found) or 'none'}")
    return found


def _spelled(heads: Iterable[Head]) -> str:
    return " + ".join(str(head) for head in heads)
