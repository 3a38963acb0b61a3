"""What a head's weights alone imply, before any token is run: where it would look by position, and by token.

Both follow the direct path only (embedding and position into this head's Q and K), so they are the whole truth in
layer 0 and leave out composition with earlier heads above it.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.errors import InputError
from interp.weights import TransformerWeights


def positional_pattern(
    weights: TransformerWeights, head: tuple[int, int], bos: int | None = None
) -> Float[Tensor, "dest src"]:
    """The attention pattern that positions imply when every token is the average one.

    softmax over src <= dest of q_dest R(dest - src) k_src^T / attn_scale, with q and k (biases included) of the mean
    token embedding plus the position; position 0 holds the token `bos` if one is given. Rows sum to 1.
    """
    weights.check_head(head)
    content = weights.W_E.mean(0).expand(weights.n_ctx, -1).clone()
    if bos is not None:
        content[0] = weights.W_E[bos]
    q, k = _queries_and_keys(weights, head, content, torch.arange(weights.n_ctx))
    scores = _rotated_scores(weights, q, k)
    future = torch.ones_like(scores, dtype=torch.bool).triu(1)
    return scores.masked_fill(future, -torch.inf).softmax(-1)


def token_scores(
    weights: TransformerWeights, head: tuple[int, int], tokens: Int[Tensor, " token"], offset: int = 1
) -> Float[Tensor, "token token"]:
    """Scores between tokens (query token x key token) with no position, `offset` apart for rotary positions.

    (N(W_E) W_Q + b_Q) R(offset) (N(W_E) W_K + b_K)^T / attn_scale, in score units. With smeared keys this is the
    score of the key's own token; the token before it gets the same score times (1 - s) / s.
    """
    weights.check_head(head)
    layer, index = head
    x = weights.normalise(weights.W_E[tokens], *_gain(weights, layer))
    q = x @ weights.W_Q[layer, index] + weights.b_Q[layer, index]
    k = x @ weights.W_K[layer, index] + weights.b_K[layer, index]
    return q @ weights.rotation(offset) @ k.T / weights.attn_scale


def token_match(
    weights: TransformerWeights, head: tuple[int, int], exclude: int | None = None, offset: int = 1
) -> float:
    """Share of the vocabulary for which a query's own token is the key with the highest score; chance is 1 / tokens.

    `exclude` leaves one token out (the beginning-of-sequence token). Raises `InputError` for vocabularies above
    20,000 tokens, where the table of scores would not fit.
    """
    if weights.d_vocab > 20_000:
        raise InputError(f"token_match compares all pairs of tokens; {weights.d_vocab} tokens are too many (20000)")
    tokens = torch.arange(weights.d_vocab)
    tokens = tokens if exclude is None else tokens[tokens != exclude]
    best = token_scores(weights, head, tokens, offset).argmax(-1)
    return float((best == torch.arange(len(tokens))).double().mean())


def _queries_and_keys(
    weights: TransformerWeights, head: tuple[int, int], content: Tensor, positions: Tensor
) -> tuple[Tensor, Tensor]:
    layer, index = head
    residual = content if weights.W_pos is None else content + weights.W_pos[positions]
    x = weights.normalise(residual, *_gain(weights, layer))
    if weights.W_pos_attn is not None:
        x = x + weights.W_pos_attn[layer, positions]
    q = x @ weights.W_Q[layer, index] + weights.b_Q[layer, index]
    k = x @ weights.W_K[layer, index] + weights.b_K[layer, index]
    if weights.smear is not None:
        share = weights.smear[layer, index]
        k = share * k + (1 - share) * torch.cat([k[:1], k[:-1]])
    return q, k


def _rotated_scores(weights: TransformerWeights, q: Tensor, k: Tensor) -> Tensor:
    if weights.rotary_base is None:
        return q @ k.T / weights.attn_scale
    scores = torch.full((len(q), len(k)), -torch.inf, dtype=q.dtype)
    for offset in range(len(q)):
        along = ((q[offset:] @ weights.rotation(offset)) * k[: len(k) - offset]).sum(-1) / weights.attn_scale
        scores.diagonal(-offset).copy_(along)
    return scores


def _gain(weights: TransformerWeights, layer: int) -> tuple[Tensor | None, Tensor | None]:
    w, b = weights.ln1_w, weights.ln1_b
    return (None if w is None else w[layer]), (None if b is None else b[layer])
