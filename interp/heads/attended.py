"""Does a head raise what it attends to, wherever that is? In nats, on any tokens."""

import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor, nn

from interp.causality import require_causal
from interp.heads.patterned import with_patterns
from interp.heads.scores import HeadScores, head_scores
from interp.hooks import record
from interp.names import scale_name, z_name
from interp.weights import TransformerWeights

SHUFFLED = "shuffled pattern"


def attended_push(
    model: nn.Module,
    weights: TransformerWeights,
    tokens: Int[Tensor, "batch pos"],
    generator: torch.Generator,
    *,
    protocol: str,
    level: float = 0.95,
) -> HeadScores:
    """By how much each head's direct path raises the logits of the tokens that it attends to, in nats.

        sum_j A_ij c_i[t_j],   c_i[v] = (z_i W_O W_U[v] - mean_v) / scale_i      averaged over queries i >= 1

    `scale` is that of the final normalisation, held at its value; `weights` must be folded. The null is the exact
    expectation when row i of A, but not the head's output, is permuted over the keys it may see: the mean of
    c_i[t_j] over j <= i. Copying evaluators (Olsson et al. 2022) give the share of what is raised; this says how much,
    and is negative for a head that lowers what it attends to. Even attention is its own null.
    """
    require_causal(weights, "a detector of heads that look back")
    tokens = tokens.to(weights.device)
    directions = (weights.W_U - weights.W_U.mean(1, keepdim=True)).T[tokens]  # batch pos d_model
    reductions = with_patterns(
        weights.n_layers, lambda layer, pattern, z: _by_query(pattern, z, weights.W_O[layer], directions)
    )
    scale = [] if weights.normalization == "none" else [scale_name(None)]
    found = record(model, tokens, names=[*reductions, *scale], reduce=reductions)
    values = torch.stack(
        [found[z_name(layer)] for layer in range(weights.n_layers)], dim=2
    )  # which batch layer head query
    if scale:
        values = values / found[scale[0]].squeeze(-1)[:, None, None]
    attended, shuffled = values[..., 1:].mean(-1).cpu()
    return head_scores(
        "attended_push",
        "what the head's direct path adds to the logits of the tokens it attends to, relative to the vocabulary's mean",
        attended,
        generator,
        protocol=protocol,
        unit="nats",
        maximum=None,
        nulls={SHUFFLED: shuffled},
        level=level,
    )


def _by_query(
    pattern: Float[Tensor, "batch head dest src"],
    z: Float[Tensor, "batch dest head d_head"],
    W_O: Float[Tensor, "head d_head d_model"],
    directions: Float[Tensor, "batch src d_model"],
) -> Float[Tensor, "two batch head dest"]:
    """Attended and shuffled, before the final normalisation."""
    written = einsum(z, W_O, "batch dest head d, head d m -> batch dest head m")
    raised = einsum(written, directions, "batch dest head m, batch src m -> batch head dest src")
    keys = torch.arange(1, raised.shape[-1] + 1, device=raised.device, dtype=raised.dtype)
    return torch.stack([(pattern * raised).sum(-1), raised.tril().sum(-1) / keys])
