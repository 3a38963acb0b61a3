"""A run as a lens sees it: the residual stream where predictions stand, the final prediction and what came."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from interp.causality import require_causal
from interp.errors import InputError
from interp.finite import require_finite
from interp.hooks import record
from interp.lens.predictions import scored_predictions
from interp.weights import TransformerWeights, weights_of


@dataclass(frozen=True, eq=False)
class Seen:
    """Sequences with a scored position, at the positions 0 .. pos - 2 that predict."""

    weights: TransformerWeights
    """Not folded: the residual stream of a running model is not centred."""
    points: tuple[str, ...]
    residual: Float[Tensor, "point batch predicting d_model"]
    final: Float[Tensor, "batch predicting d_vocab"]
    """The model's own prediction, log probabilities."""
    target: Int[Tensor, "batch predicting"]
    """The token that comes next."""
    weight: Float[Tensor, "batch predicting"]
    """1 / (scored positions of the sequence) where the next token counts, else 0."""
    heads: Float[Tensor, "batch predicting layer head d_head"] | None
    """What the heads read (z), where it was asked for."""


def seen(
    model: nn.Module,
    tokens: Int[Tensor, "batch pos"],
    points: tuple[str, ...],
    scored: Bool[Tensor, "sample position"] | None = None,
    z_names: tuple[str, ...] = (),
) -> Seen:
    """Runs the model; `z_names` are the heads' values to keep, layer by layer.

    Raises `InputError` for fewer than two sequences with a scored position, or a mask of another shape.
    """
    require_causal(model, "a lens that predicts the next token")
    mask = scored_predictions(tokens, scored)
    tokens, mask = tokens[mask.any(1)], mask[mask.any(1)]
    if len(tokens) < 2:
        raise InputError(f"a lens needs at least 2 sequences with a scored position, got {len(tokens)}")
    run = record(model, tokens, names=[*points, *z_names])
    require_finite("the logits", run.output)
    final = run.output[:, :-1].log_softmax(-1)
    return Seen(
        weights=weights_of(model, fold=False),
        points=points,
        residual=torch.stack([run[point][:, :-1] for point in points]),
        final=final,
        target=tokens[:, 1:].to(final.device),
        weight=mask.to(final) / mask.sum(1, keepdim=True).to(final),
        heads=torch.stack([run[name][:, :-1] for name in z_names], 2) if z_names else None,
    )
