"""The tuned lens: what a linear map can read out of the residual stream at each depth, where the logit lens needs the
answer to lie in the directions of the unembedding already."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from interp.errors import InputError
from interp.lens.by_depth import residual_points
from interp.lens.predictions import scored_predictions
from interp.lens.seen import Seen, seen
from interp.lens.tuned_fit import Part, Translator, fit_all, translate
from interp.weights import TransformerWeights, weights_of

Progress = Callable[[Sequence[int]], Iterable[int]]
"""Wraps the points as they are worked on, as tqdm does."""
LOOKS, PATIENCE = 200, 10


@dataclass(frozen=True, eq=False)
class TunedLens:
    """Affine translators of the points of the residual stream, and the control that may only add a vector."""

    points: tuple[str, ...]
    full: tuple[Translator, ...]
    """x A + b, one for each point."""
    bias_only: tuple[Translator, ...]
    """x + b: reads nothing new of the sequence, only what the model says on average."""
    tokens: Int[Tensor, "batch pos"]
    """What they were trained and validated on, so that nothing else is called held-out."""
    n_validation: int
    """How many of these sequences decided when to stop."""

    def logits(
        self, w: TransformerWeights, point: str, residual: Float[Tensor, "*rest d_model"], bias_only: bool = False
    ) -> Float[Tensor, "*rest d_vocab"]:
        """LogitLens(x A + b) at a point; `w` is not folded. `InputError` for a point without a translator."""
        if point not in self.points:
            raise InputError(f"no translator was trained for {point!r}; there are {', '.join(self.points)}")
        t = (self.bias_only if bias_only else self.full)[self.points.index(point)]
        return translate(w, residual.to(t.A), t.A, t.b)

    def to_dict(self) -> dict[str, Any]:
        def figures(translators: tuple[Translator, ...]) -> dict[str, list[float]]:
            names = ("training_kl", "validation_kl", "identity_kl", "penalty", "looks")
            return {name: [getattr(each, name) for each in translators] for name in names}

        counts = {"n_training": len(self.tokens) - self.n_validation, "n_validation": self.n_validation}
        return {"points": list(self.points), "full": figures(self.full), "bias_only": figures(self.bias_only)} | counts


def tuned_lens(
    model: nn.Module,
    tokens: Int[Tensor, "batch pos"],
    generator: torch.Generator,
    scored: Bool[Tensor, "sample position"] | None = None,
    points: tuple[str, ...] | None = None,
    validation: float = 0.25,
    progress: Progress | None = None,
) -> TunedLens:
    """Translators trained on the model's own activations of `tokens`.

        TunedLens(x) = N(x A + b) W_U + b_U,    (A, b) = argmin of the mean of KL(final prediction || TunedLens(x))

    A starts as the identity (Belrose et al. 2023, "Eliciting latent predictions from transformers with the tuned
    lens"; rows here, so A is their transpose). L-BFGS over all predictions at once, first of b alone (the control),
    then from there of both, with one of five penalties on |A - I|^2; a share `validation` of the sequences, drawn from
    `generator`, decides which penalty and which step is kept, and doing nothing is one of them. Each sequence counts
    alike; `scored` as in `logit_lens`. All log probabilities are held in memory: positions times vocabulary.

    Raises `InputError` for fewer than four sequences, sequences that come twice (the validation part would know some),
    a share that leaves fewer than two on either side, and activations that are not finite.
    """
    points = residual_points(weights_of(model, fold=False)) if points is None else points
    check_points(points)
    check_different(tokens)
    found = at_least_float32(seen(model, tokens, points, scored))
    n = len(found.target)
    n_validation = round(validation * n)
    if not 2 <= n_validation <= n - 2:
        raise InputError(
            f"training and validation need 2 sequences with a scored position each, got {n} and a share of {validation}"
        )
    order = torch.randperm(n, generator=generator, device=generator.device).to(found.target.device)
    held, rest = order[:n_validation].sort().values, order[n_validation:].sort().values
    full, bias_only = [], []
    for index in range(len(points)) if progress is None else progress(range(len(points))):
        training, checked = part_of(found, index, rest), part_of(found, index, held)
        fitted, control = fit_all(found.weights, training, checked, LOOKS, PATIENCE)
        full.append(fitted)
        bias_only.append(control)
    return TunedLens(points, tuple(full), tuple(bias_only), tokens.detach().clone(), n_validation)


def part_of(found: Seen, point: int, rows: Int[Tensor, " row"]) -> Part:
    """The scored predictions of some sequences at a point."""
    weight = found.weight[rows]
    kept = weight > 0
    return Part(found.residual[point, rows][kept], found.final[rows][kept], weight[kept] / len(rows))


def at_least_float32(found: Seen) -> Seen:
    """The same in float32 where the model runs in half precision; `InputError` for values that are not finite."""
    dtype = torch.promote_types(found.final.dtype, torch.float32)
    for name, value in (("residual stream", found.residual), ("final prediction", found.final)):
        if not bool(value.isfinite().all()):
            raise InputError(f"the model's {name} holds NaN or infinity on these tokens; no lens can be trained on it")
    changed = {name: getattr(found, name).to(dtype) for name in ("residual", "final", "weight")}
    return replace(found, weights=found.weights.to(dtype=dtype), **changed)


def check_points(points: tuple[str, ...]) -> None:
    if not points or len(set(points)) < len(points):
        raise InputError(f"points must be different hook points of the residual stream, got {list(points)}")


def check_different(tokens: Int[Tensor, "batch pos"]) -> None:
    """`InputError` where a sequence comes twice."""
    scored_predictions(tokens, None)
    twice = len(tokens) - len(tokens.unique(dim=0))
    if twice:
        raise InputError(
            f"training sequences must all differ, {twice} of {len(tokens)} repeat an earlier one: drop them"
        )


def check_held_out(lens: TunedLens, tokens: Int[Tensor, "batch pos"]) -> None:
    """`InputError` where a sequence was trained on, or begins as one that was (or the other way round)."""
    scored_predictions(tokens, None)
    length = min(tokens.shape[1], lens.tokens.shape[1])
    known = {tuple(row) for row in lens.tokens[:, :length].tolist()}
    overlap = sum(tuple(row) in known for row in tokens[:, :length].tolist())
    if overlap:
        raise InputError(
            f"{overlap} of {len(tokens)} held-out sequences were trained on: draw others, or leave them out"
        )
