"""Direct logit attribution: the logits as a sum of what each component wrote into the residual stream."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from interp import names
from interp.causality import require_causal
from interp.errors import InputError
from interp.hooks import record
from interp.inputs import checked
from interp.lens.predictions import scored_predictions
from interp.stats import Estimates, bootstrap_intervals
from interp.weights import TransformerWeights, weights_of

FINAL_BIAS = "final bias"


@dataclass(frozen=True)
class Attribution:
    """Contributions to the logit of one target token at each position; they add up to it."""

    components: tuple[str, ...]
    """embed, pos_embed, L0H0 ..., "L0 bias" (b_O), "L0 MLP", "final bias" (b_U and the final normalisation's)."""
    targets: Int[Tensor, "batch pos"]
    logit: Float[Tensor, "component batch pos"]
    """Part of the target's logit, nats."""
    relative: Float[Tensor, "component batch pos"]
    """Part of the target's logit minus the mean logit of the vocabulary: what the softmax can see."""
    scale: Float[Tensor, "batch pos"]
    """The final normalisation's divisor, held at its value: what changes it changes all parts at once."""
    error: float
    """Largest |sum of the parts - logit| that was seen."""

    def mean(
        self, generator: torch.Generator, scored: Bool[Tensor, "sample position"] | None = None, level: float = 0.95
    ) -> Estimates:
        """`relative` averaged over (scored) positions and sequences, [component], with bootstrap intervals.

        `scored` marks the positions of `targets` that count. Raises `InputError` unless two sequences have one.
        """
        mask = torch.ones_like(self.targets, dtype=torch.bool) if scored is None else scored.to(self.targets.device)
        if mask.shape != self.targets.shape:
            raise InputError(f"scored must have the targets' shape {list(self.targets.shape)}, got {list(mask.shape)}")
        kept = mask.any(1)
        if int(kept.sum()) < 2:
            raise InputError("an interval needs at least 2 sequences with a scored position")
        weight = mask[kept].to(self.relative) / mask[kept].sum(1, keepdim=True).to(self.relative)
        return bootstrap_intervals((self.relative[:, kept] * weight).sum(2).T, generator, level)

    def to_dict(self) -> dict[str, Any]:
        means = self.relative.mean((1, 2)).tolist()
        return {"components": list(self.components), "mean_relative_logit": means, "error": self.error}


@checked
def direct_logit_attribution(
    model: nn.Module, tokens: Int[Tensor, "batch pos"], targets: Int[Tensor, "sample predicting"] | None = None
) -> Attribution:
    """Each component's part in the logit of `targets[b, p]` at position p, with the final scale held at its value.

        logit[t] = sum_c (u_c / scale * gain) W_U[:, t] + bias W_U[:, t] + b_U[t]

    where u_c is what component c wrote, centred where the model's normalisation centres. Without `targets`, position
    p's target is the token at p + 1, and the last position is left out. A head's part is `z W_O` (with b_V).
    Raises `InputError` for targets of another shape or outside the vocabulary.
    """
    w = weights_of(model, fold=False)
    if targets is None:
        require_causal(w, "attribution to the next token (without targets=)")
        scored_predictions(tokens, None)
        targets = tokens[:, 1:]
    check_targets(w, tokens, targets)
    n, points = targets.shape[1], written_points(w)
    run = record(model, tokens, names=points)
    written = {name: run[name][:, :n] for name in points}
    targets = targets.to(run.output.device)
    scale = final_scale(w, final_residual(w, written))
    bias = torch.zeros_like(w.W_U[:, 0]) if w.ln_final_b is None else w.ln_final_b

    def parts(column: Tensor, b_U: Tensor) -> dict[str, Tensor]:
        direction = reading_direction(w, column) / scale.unsqueeze(-1)
        return component_parts(w, written, direction) | {FINAL_BIAS: (column @ bias + b_U).expand(scale.shape)}

    of_target = parts(w.W_U.T[targets], w.b_U[targets])
    of_mean = parts(w.W_U.mean(1), w.b_U.mean())
    logit, mean = torch.stack(list(of_target.values())), torch.stack(list(of_mean.values()))
    seen = run.output[:, :n].gather(-1, targets[..., None])[..., 0]
    return Attribution(tuple(of_target), targets, logit, logit - mean, scale, float((logit.sum(0) - seen).abs().max()))


def written_points(w: TransformerWeights) -> list[str]:
    points = [names.embed_name(), *([names.pos_embed_name()] if w.W_pos is not None else [])]
    for layer in range(w.n_layers):
        points += [names.z_name(layer), *([names.mlp_out_name(layer)] if w.W_in is not None else [])]
    return points + ([names.resid_post_name(w.n_layers - 1)] if w.n_layers else [])


def component_parts(
    w: TransformerWeights, written: dict[str, Tensor], direction: Float[Tensor, "batch pos d_model"]
) -> dict[str, Float[Tensor, "batch pos"]]:
    """What each component wrote, along a direction."""
    parts = {"embed": (written[names.embed_name()] * direction).sum(-1)}
    if w.W_pos is not None:
        parts["pos_embed"] = (written[names.pos_embed_name()] * direction).sum(-1)
    for layer in range(w.n_layers):
        reads = torch.einsum("hdm,bpm->bphd", w.W_O[layer], direction)
        heads = (written[names.z_name(layer)] * reads).sum(-1)
        parts |= {str(names.Head(layer, index)): heads[..., index] for index in range(w.n_heads)}
        parts[f"L{layer} bias"] = direction @ w.b_O[layer]
        if w.W_in is not None:
            parts[f"L{layer} MLP"] = (written[names.mlp_out_name(layer)] * direction).sum(-1)
    return parts


def final_residual(w: TransformerWeights, written: dict[str, Tensor]) -> Float[Tensor, "batch pos d_model"]:
    if w.n_layers:
        return written[names.resid_post_name(w.n_layers - 1)]
    embedded = written[names.embed_name()]
    return embedded if w.W_pos is None else embedded + written[names.pos_embed_name()]


def final_scale(w: TransformerWeights, x: Float[Tensor, "*rest d_model"]) -> Float[Tensor, "*rest"]:
    if w.normalization == "none":
        return torch.ones_like(x[..., 0])
    x = x - x.mean(-1, keepdim=True) if w.normalization in ("LN", "LNPre") else x
    return (x.square().mean(-1) + w.norm_eps).sqrt()


def reading_direction(w: TransformerWeights, column: Float[Tensor, "*rest d_model"]) -> Float[Tensor, "*rest d_model"]:
    """The direction whose dot product with what is written gives its part in the logit, times the scale."""
    direction = column if w.ln_final_w is None else column * w.ln_final_w
    return direction - direction.mean(-1, keepdim=True) if w.normalization in ("LN", "LNPre") else direction


def check_targets(w: TransformerWeights, tokens: Tensor, targets: Tensor) -> None:
    if targets.ndim != 2 or len(targets) != len(tokens) or targets.shape[1] > tokens.shape[1] or not targets.numel():
        raise InputError(
            f"targets must be [batch pos] for (the first positions of) tokens {list(tokens.shape)}, "
            f"got {list(targets.shape)}"
        )
    low, high, n = int(targets.min()), int(targets.max()), w.W_U.shape[1]
    if low < 0 or high >= n:
        raise InputError(f"target {low if low < 0 else high} is outside the vocabulary 0..{n - 1}")
