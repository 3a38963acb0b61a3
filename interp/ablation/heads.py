"""What breaks when heads are removed: loss, logit and probability of the token that comes, with controls.

A head is removed by replacing its output by zeros, by its mean or by its output on another sequence (`removal`). The
mean is over sequences *and* positions by default: a mean for each position would keep whatever a head says about
positions, and with a fixed period that includes where the earlier copy stands; so would the output on another sequence
of that period. Effects are "removed minus intact", averaged over the scored tokens of each sequence; intervals are over
sequences. Later heads and the final normalisation react to the removal, unless patterns are held.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from interp.ablation.losses import QUANTITIES, scored_masks, sequence_means
from interp.ablation.removal import Over, Removal, To, removal
from interp.ablation.restart import removed_one_by_one
from interp.heads.scores import HeadScores, head_scores
from interp.hooks import intervene
from interp.inputs import checked
from interp.names import Head, check
from interp.weights.shape import shape_of

OTHERS, CANDIDATES, ELSEWHERE = "other heads of its layer", "other heads removed", "other positions"


@dataclass(frozen=True, eq=False)
class HeadEffects:
    """Effects of removing each head by itself, "removed minus intact", on the scored tokens.

    The loss carries its controls: the other heads of the same layer (mean of their effects, in `nulls`), and, where
    every sequence has tokens that are not scored, the effect there (collateral, in `also`; with its interval in
    `elsewhere`): `loss.contrast("other positions", generator)` is what is specific to the scored tokens.
    """

    loss: HeadScores
    logit: HeadScores
    probability: HeadScores
    elsewhere: HeadScores | None
    intact: dict[str, float]
    """Loss (nats), logit and probability of the scored tokens in the whole model; "loss elsewhere" if there is one."""

    def to_dict(self) -> dict[str, Any]:
        parts = {name: getattr(self, name) for name in ("loss", "logit", "probability", "elsewhere")}
        return {"intact": self.intact} | {name: part and part.to_dict() for name, part in parts.items()}


@checked
def head_effects(
    model: nn.Module,
    tokens: Int[Tensor, "batch pos"],
    scored: Bool[Tensor, "batch pos"],
    generator: torch.Generator,
    *,
    to: To = "mean",
    over: Over = "batch and positions",
    reference: Int[Tensor, "reference_batch reference_pos"] | None = None,
    hold_patterns: bool = False,
    level: float = 0.95,
    heads: Sequence[Head] | None = None,
) -> HeadEffects:
    """Every head removed by itself. `scored[b, i]`: the token at i counts, predicted from the positions before it.

    `to`, `over`, `reference` and `hold_patterns` are those of `removal`. Sequences without a scored token are left out.
    With `heads`, only these are removed (the control is then the mean of the others among them), and all other heads'
    effects are NaN.
    Raises `InputError` for masks that score nothing or position 0, and for what `removal` refuses.
    """
    shape, masks = shape_of(model), scored_masks(tokens, scored)
    how = removal(model, tokens, to, over, reference, generator, hold_patterns=hold_patterns)
    removed = shape.heads if heads is None else [check(head, shape.n_layers, shape.n_heads) for head in heads]
    intact, effects = removed_one_by_one(model, tokens, masks, how, removed)
    rectangle = (shape.n_layers, shape.n_heads) if heads is None else (1, len(removed))
    effects = effects.unflatten(-1, rectangle)  # which quantity batch layer head
    rows = ~intact[0, 0].isnan()
    complete = not bool(intact[1, 0, rows].isnan().any())
    text = f"{len(tokens)} sequences, {int(scored.sum())} scored tokens; {how.text}"

    def made(name: str, values: Tensor, where: str, **controls: Any) -> HeadScores:
        said = f"{name} of {where}: removed minus intact"
        scores = head_scores(
            name, said, values, generator, protocol=text, unit=QUANTITIES[name], maximum=None, level=level, **controls
        )
        return scores if heads is None else scores.spread(removed, shape.n_layers, shape.n_heads)

    values = effects[:, :, rows]
    others = OTHERS if heads is None else CANDIDATES
    nulls = {others: mean_of_others(values[0, 0])} if rectangle[1] > 1 else {}
    means = intact[:, :, rows].mean(-1)
    whole = {name: float(means[0, q]) for q, name in enumerate(QUANTITIES)}
    return HeadEffects(
        made("loss", values[0, 0], "scored tokens", nulls=nulls, also={ELSEWHERE: values[1, 0]} if complete else {}),
        made("logit", values[0, 1], "scored tokens"),
        made("probability", values[0, 2], "scored tokens"),
        made("loss", values[1, 0], "tokens that are not scored") if complete else None,
        whole | ({"loss elsewhere": float(means[1, 0])} if complete else {}),
    )


def removal_effect(
    model: nn.Module, tokens: Tensor, masks: Tensor, how: Removal, heads: Iterable[Head], intact: Tensor
) -> Float[Tensor, "which quantity batch"]:
    with intervene(model, how.edits(heads)):
        return sequence_means(model, tokens, masks) - intact


def mean_of_others(values: Float[Tensor, "n layer head"]) -> Float[Tensor, "n layer head"]:
    """The mean over the other heads of the layer."""
    return (values.sum(-1, keepdim=True) - values) / (values.shape[-1] - 1)
