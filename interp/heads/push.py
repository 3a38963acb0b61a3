"""Which token a head's own output raises: the one that comes next, the present one, or just any of the sequence."""

import torch
from einops import einsum
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from interp.causality import require_causal
from interp.errors import InputError
from interp.finite import require_finite
from interp.heads.at_once import parts
from interp.heads.evaluators import directions_of
from interp.heads.scores import HeadScores, head_scores
from interp.hooks import record
from interp.inputs import checked
from interp.names import scale_name, z_name
from interp.weights import TransformerWeights

TYPICAL, PRESENT = "typical token of the sequence", "present token"


@checked
def next_token_push(
    model: nn.Module,
    weights: TransformerWeights,
    tokens: Int[Tensor, "batch pos"],
    predictable: Bool[Tensor, "batch pos"],
    generator: torch.Generator,
    *,
    protocol: str,
    level: float = 0.95,
) -> HeadScores:
    """By how much each head's direct path raises the logit of the token that comes next, in nats.

        c_i[v] = (z_i W_O W_U[v] - mean_v) / scale_i      averaged over queries i with predictable[i + 1], v = t_{i+1}

    `scale` is that of the final normalisation, held at its value; `weights` must be folded. Nulls: the same with v the
    present token t_i, and the median over all positions' tokens of the sequence (not their mean, which falls or rises
    with any single token that the head does move). A head that attends to the right place but does not copy from it
    (or copies something else) leaves the next token where the typical one is.
    Raises `InputError` for unfolded weights, or if a sequence has no predictable token.
    """
    require_causal(weights, "the push towards the next token")
    if not weights.is_folded and weights.normalization not in ("LNPre",):
        raise InputError("next_token_push needs folded weights: weights_of(model, fold=True)")
    tokens, predictable = tokens.to(weights.device), predictable.to(weights.device)
    queries = predictable[:, 1:]
    if not bool(queries.any(1).all()):
        raise InputError("every sequence needs a predictable token, so that there is a query to read")
    found = [_pushed(model, weights, tokens[part], queries[part]) for part in parts(model, tokens)]
    upcoming, present, typical = torch.cat(found, dim=1)
    return head_scores(
        "next_token_push",
        "what the head's direct path adds to the logit of the token that comes next, relative to the vocabulary's mean",
        upcoming,
        generator,
        protocol=protocol,
        unit="nats",
        maximum=None,
        nulls={PRESENT: present, TYPICAL: typical},
        level=level,
    )


def _pushed(
    model: nn.Module, weights: TransformerWeights, tokens: Tensor, queries: Tensor
) -> Float[Tensor, "three batch layer head"]:
    directions = directions_of(weights.W_U, tokens)
    reductions = {z_name(layer): _Push(weights.W_O[layer], directions) for layer in range(weights.n_layers)}
    scale = [] if weights.normalization == "none" else [scale_name(None)]
    found = record(model, tokens, names=[*reductions, *scale], reduce=reductions)
    each = torch.stack([found[name] for name in reductions], dim=2)  # three batch layer head query
    require_finite("what heads add to the logits", each)
    share = queries.to(each) / queries.sum(1, keepdim=True)
    if scale:
        share = share / found[scale[0]].squeeze(-1)[:, :-1]
    return einsum(each, share, "three batch layer head query, batch query -> three batch layer head").cpu()


class _Push:
    """z [batch pos head d_head] -> [3 batch head query]: raised next, present and typical token, before the scale."""

    def __init__(self, W_O: Tensor, directions: Tensor):
        self.W_O, self.directions = W_O, directions

    def __call__(self, z: Float[Tensor, "batch pos head d_head"]) -> Float[Tensor, "three batch head query"]:
        written = einsum(z[:, :-1], self.W_O, "batch pos head d, head d m -> batch pos head m")
        pairs = zip(written, self.directions, strict=True)
        return torch.stack([self._of_sequence(*each) for each in pairs], dim=1)

    @staticmethod
    def _of_sequence(
        written: Float[Tensor, "query head m"], directions: Float[Tensor, "pos m"]
    ) -> Float[Tensor, "three head query"]:
        raised = einsum(written, directions, "query head m, pos m -> head query pos")
        upcoming, present = raised.diagonal(1, 1, 2), raised.diagonal(0, 1, 2)
        return torch.stack([upcoming, present, raised.median(-1).values])
