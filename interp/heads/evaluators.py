"""Olsson et al.'s copying evaluator: does a head raise the logits of the tokens that it attends to?"""

from dataclasses import dataclass

import torch
from einops import einsum
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from interp.finite import require_finite
from interp.heads.at_once import parts
from interp.heads.patterned import with_patterns
from interp.hooks import record
from interp.names import scale_name, z_name
from interp.weights import TransformerWeights


@dataclass(frozen=True, eq=False)
class Raised:
    """By how much a head raises tokens at each query; R_i[v] is defined in `raised`."""

    attended: Float[Tensor, "*rest dest"]
    """sum_j A_ij R_i[t_j]"""
    everything: Float[Tensor, "*rest dest"]
    """The sum of R_i over the different tokens of the sequence."""
    shuffled: Float[Tensor, "*rest dest"]
    """Expectation of `attended` when row i of A, but not the output, is permuted over the keys it may see."""


def raised(
    pattern: Float[Tensor, "batch head dest src"],
    written: Float[Tensor, "batch dest head d_model"],
    W_U: Float[Tensor, "d_model d_vocab"],
    tokens: Int[Tensor, "batch src"],
) -> Raised:
    """R_i[v] = ReLU(l_i[v] - mean_v l_i[v]) with l = written W_U, summed as Olsson et al. 2022 do.

    `written` is what the head adds to the residual stream, centred if the final normalisation centres.
    """
    return raised_along(pattern, written, directions_of(W_U, tokens), tokens)


def directions_of(
    W_U: Float[Tensor, "d_model d_vocab"], tokens: Int[Tensor, "batch src"]
) -> Float[Tensor, "batch src d_model"]:
    """What a vector is multiplied with to give the logit of each token, minus the mean of all logits."""
    return W_U.T[tokens] - W_U.mean(1)


def raised_along(
    pattern: Float[Tensor, "batch head dest src"],
    written: Float[Tensor, "batch dest head d_model"],
    directions: Float[Tensor, "batch src d_model"],
    tokens: Int[Tensor, "batch src"],
) -> Raised:
    """`raised`, from the directions of the sequence's tokens."""
    R = einsum(written, directions, "batch dest head m, batch src m -> batch head dest src").relu()
    is_first = ~(tokens[:, :, None] == tokens[:, None, :]).tril(-1).any(-1)
    keys = torch.arange(1, tokens.shape[1] + 1, device=R.device, dtype=R.dtype)
    return Raised(
        attended=(pattern * R).sum(-1),
        everything=einsum(R, is_first.to(R), "batch head dest src, batch src -> batch head dest"),
        shuffled=pattern.sum(-1) * R.tril().sum(-1) / keys,
    )


def copying_score(
    attended: Float[Tensor, "*rest dest"],
    everything: Float[Tensor, "*rest dest"],
    weights: Float[Tensor, "*rest dest"],
) -> Float[Tensor, "*rest"]:
    """2 (sum_i w_i a_i) / (sum_i w_i s_i) - 1: +1 if only attended tokens are raised, -1 if they never are.

    `weights` are 1 / (scale of the final normalisation) at the queries that count, 0 at the others. A head that
    raises nothing gets -1.
    """
    total = (weights * everything).sum(-1)
    share = (weights * attended).sum(-1) / torch.where(total > 0, total, 1.0)
    return 2 * share - 1


def copying_samples(
    model: nn.Module,
    w: TransformerWeights,
    tokens: Int[Tensor, "batch pos"],
    queries: Bool[Tensor, "batch pos"],
) -> tuple[Float[Tensor, "batch layer head"], Float[Tensor, "batch layer head"]]:
    """Each sequence's copying score of every head, and its null with shuffled patterns.

    The head's direct path to the logits: z W_O W_U / scale_i, with the final normalisation's scale held at its value
    in this run, its gain and centring applied (`w` must be folded), and everything constant (b_O, b_U) left out. The
    head's own b_V is in z. Sequences run in chunks, so that their logits fit in memory.
    """
    found = [_samples(model, w, tokens[part], queries[part]) for part in parts(model, tokens)]
    samples, shuffled = (torch.cat(each) for each in zip(*found, strict=True))
    return samples, shuffled


def _samples(model: nn.Module, w: TransformerWeights, tokens: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
    directions = directions_of(w.W_U, tokens)

    def read(layer: int, pattern: Tensor, z: Tensor) -> Tensor:
        written = einsum(z, w.W_O[layer], "batch pos head d, head d m -> batch pos head m")
        r = raised_along(pattern, written, directions, tokens)
        return torch.stack([r.attended, r.everything, r.shuffled])

    reductions = with_patterns(w.n_layers, read)
    scale = [] if w.normalization == "none" else [scale_name(None)]
    found = record(model, tokens, names=[*reductions, *scale], reduce=reductions)
    attended, everything, shuffled = torch.stack([found[z_name(layer)] for layer in range(w.n_layers)], dim=2)
    counted = queries.to(attended)
    if scale:
        counted = counted / found[scale[0]].squeeze(-1)
    counted = counted[:, None, None].expand_as(attended)  # batch layer head dest
    samples = copying_score(attended, everything, counted), copying_score(shuffled, everything, counted)
    for each in samples:
        require_finite("what heads add to the logits", each)
    return samples[0].cpu(), samples[1].cpu()
