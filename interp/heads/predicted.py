"""Heads that attend to what the model already predicts: the behaviour of copy suppression.

McDougall et al. 2023 (arXiv:2310.04625, "Copy Suppression") describe a head that finds earlier occurrences of the token
which the model is about to predict, and lowers it there. *Already predicted* at query i, for a head of layer l: the
most likely token by the logit lens on the residual stream before that layer, where its probability is at least 0.2
and it stands somewhere in 1..i (not at position 0, where attention rests).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from einops import einsum
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from interp.causality import require_causal
from interp.heads.matching import mass_of_rows
from interp.hooks import record
from interp.names import pattern_name, resid_pre_name, scale_name, z_name
from interp.weights import TransformerWeights, weights_of

LIKELY = 0.2
"""Probability from which a token counts as predicted."""
OTHER_PREDICTIONS, SHUFFLED = "predictions of other positions", "shuffled pattern"


@dataclass(frozen=True, eq=False)
class PredictedReadings:
    """What the heads of one layer do at queries whose prediction stands earlier in the sequence; means by sequence."""

    attention: Float[Tensor, "n head"]
    """Mass on the tokens that are predicted there."""
    nulls: dict[str, Float[Tensor, "n head"]]
    """The same mass expected of each row's weights permuted, and on what is predicted at another query."""
    push: Float[Tensor, "n head"]
    """The predicted token's logit from the head's direct path, minus the median of the sequence's tokens, in nats."""
    entries: Bool[Tensor, "batch dest src"]
    """All sequences' entries (query, token predicted there)."""
    queries: int


def predicted_readings(
    model: nn.Module, weights: TransformerWeights, tokens: Int[Tensor, "batch pos"], generator: torch.Generator
) -> dict[int, PredictedReadings]:
    """For every layer before which something is predicted (in two sequences or more); empty if there is none.

    `weights` must be folded. "predictions of other positions" reads row i at the tokens predicted at i + shift, with
    one random shift for each sequence.
    """
    require_causal(weights, "a detector of heads that look back")
    tokens = tokens.to(weights.device)
    layers, scale = range(weights.n_layers), [] if weights.normalization == "none" else [scale_name(None)]
    before = record(model, tokens, names=[*map(resid_pre_name, layers), *scale])
    scales = before[scale[0]].squeeze(-1) if scale else torch.ones_like(tokens).to(weights.W_U)
    shifts = torch.randint(1, tokens.shape[1] - 1, (len(tokens),), generator=generator)
    unfolded = weights_of(model, fold=False)  # a running model's residual stream is not centred
    likely = {layer: _likely(unfolded, before[resid_pre_name(layer)]) for layer in layers}
    masks = {layer: predicted_entries(tokens, found) for layer, found in likely.items()}
    wanted = [layer for layer in layers if int(masks[layer].any(-1).any(-1).sum()) >= 2]
    if not wanted:
        return {}
    found = _run(model, weights, tokens, wanted, scales)
    return {layer: _readings(*found[layer], tokens, likely[layer], masks[layer], shifts) for layer in wanted}


def predicted_entries(
    tokens: Int[Tensor, "batch pos"], predicted: Int[Tensor, "batch pos"]
) -> Bool[Tensor, "batch dest src"]:
    """(i, j) with 1 <= j <= i where the token at j is the one predicted at i (-1 for none)."""
    entries = (predicted[:, :, None] == tokens[:, None, :]).tril()
    entries[:, :, 0] = False
    return entries


def _likely(weights: TransformerWeights, residual: Float[Tensor, "batch pos d_model"]) -> Int[Tensor, "batch pos"]:
    """The most likely token by the logit lens, -1 where it is not likely enough."""
    logits = weights.normalise(residual, weights.ln_final_w, weights.ln_final_b) @ weights.W_U + weights.b_U
    probability, token = logits.softmax(-1).max(-1)
    return torch.where(probability >= LIKELY, token, -1)


def _run(
    model: nn.Module, weights: TransformerWeights, tokens: Tensor, layers: list[int], scales: Tensor
) -> dict[int, tuple[Tensor, Tensor]]:
    """Patterns, and what each head's direct path adds to the logits of the sequence's tokens, by layer."""
    directions = (weights.W_U - weights.W_U.mean(1, keepdim=True)).T[tokens]

    def read(layer: int) -> Callable[[Tensor], Tensor]:
        def reduce(z: Tensor) -> Tensor:
            written = einsum(z, weights.W_O[layer], "batch dest head d, head d m -> batch dest head m")
            raised = einsum(written, directions, "batch dest head m, batch src m -> batch head dest src")
            return raised / scales[:, None, :, None]

        return reduce

    reductions = {z_name(layer): read(layer) for layer in layers}
    found = record(model, tokens, names=[*map(pattern_name, layers), *reductions], reduce=reductions)
    return {layer: (found[pattern_name(layer)], found[z_name(layer)]) for layer in layers}


def _readings(
    pattern: Float[Tensor, "batch head dest src"],
    raised: Float[Tensor, "batch head dest src"],
    tokens: Int[Tensor, "batch pos"],
    predicted: Int[Tensor, "batch pos"],
    entries: Bool[Tensor, "batch dest src"],
    shifts: Int[Tensor, " batch"],
) -> PredictedReadings:
    eligible = entries.any(-1)
    rows = eligible.any(-1)
    share = (eligible.to(pattern) / eligible.sum(-1, keepdim=True).clamp_min(1))[rows]
    keys = torch.arange(1, pattern.shape[-1] + 1, device=pattern.device, dtype=pattern.dtype)
    shifted = torch.stack([row.roll(int(by)) for row, by in zip(predicted, shifts, strict=True)])
    others = predicted_entries(tokens, torch.where(shifted == predicted, -1, shifted))
    own = raised.masked_fill(~entries[:, None], 0).sum(-1) / entries.sum(-1).clamp_min(1)[:, None]

    def mean(by_query: Tensor) -> Tensor:
        return einsum(by_query[rows], share, "n head dest, n dest -> n head").cpu().double()

    return PredictedReadings(
        attention=mean(mass_of_rows(pattern, entries)),
        nulls={
            SHUFFLED: mean(pattern.sum(-1) * (entries.sum(-1) / keys)[:, None]),
            OTHER_PREDICTIONS: mean(mass_of_rows(pattern, others)),
        },
        push=mean(own - raised.median(-1).values),
        entries=entries,
        queries=int(eligible.sum()),
    )
