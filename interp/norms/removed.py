"""How much of what a head's removal does runs through the scales of all later reads, not only the last."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from interp.ablation.losses import scored_masks, sequence_means
from interp.ablation.removal import To, removal
from interp.hooks import intervene, record
from interp.inputs import checked
from interp.norms.reads import reads_of
from interp.stats import Estimates, bootstrap_intervals
from interp.weights import weights_of
from interp.weights.shape import shape_of


@dataclass(frozen=True, eq=False)
class RemovedEffects:
    """Loss of the scored tokens with a head removed minus intact, nats per token, [layer head]."""

    free: Estimates
    """As the model runs: later reads divide by the scales of the changed stream."""
    held: Estimates
    """With every scale as in the intact run."""
    through: Estimates
    """Free minus held, paired by sequence: what runs through the scales."""
    text: str

    def to_dict(self) -> dict[str, Any]:
        parts = {name: getattr(self, name).to_dict() for name in ("free", "held", "through")}
        return {"protocol": self.text, **parts}


@checked
@torch.no_grad()
def held_scales(model: nn.Module, tokens: Int[Tensor, "batch pos"]) -> dict[str, Float[Tensor, "batch pos one"]]:
    """For `intervene`: every scale of the model, kept at what it is on these tokens.

    With these (and the patterns) held the model is affine in what is written into its residual stream, if it has no
    MLP. Raises `InputError` for a model without normalisation.
    """
    points = [read.scale_name for read in reads_of(weights_of(model, fold=False))]
    run = record(model, tokens, names=points)
    return {point: run[point] for point in points}


@checked
@torch.no_grad()
def removed_effects(
    model: nn.Module,
    tokens: Int[Tensor, "batch pos"],
    scored: Bool[Tensor, "batch pos"],
    generator: torch.Generator,
    *,
    to: To = "mean",
    level: float = 0.95,
) -> RemovedEffects:
    """Every head removed by itself (see `interp.ablation.removal`), with all scales free and with all of them held.

    Raises `InputError` as `removal` and `held_scales` do, and for a model that looks ahead.
    """
    shape, masks = shape_of(model), scored_masks(tokens, scored)
    how, scales = removal(model, tokens, to, generator=generator), held_scales(model, tokens)
    intact = sequence_means(model, tokens, masks)[0, 0]

    def effects(edits: dict[str, Any]) -> Float[Tensor, "sequence layer head"]:
        found = []
        for head in shape.heads:
            with intervene(model, {**how.edits([head]), **edits}):
                found.append(sequence_means(model, tokens, masks)[0, 0] - intact)
        values = torch.stack(found, dim=1).unflatten(1, (shape.n_layers, shape.n_heads))
        return values[scored.any(1).cpu()]

    free, held = effects({}), effects(scales)
    text = f"{len(tokens)} sequences, {int(scored.sum())} scored tokens; {how.text}"
    parts = {"free": free, "held": held, "through": free - held}
    return RemovedEffects(
        **{name: bootstrap_intervals(values, generator, level) for name, values in parts.items()}, text=text
    )
