"""What a head's weights alone imply, before any token is run: where it would look by position, and by token.

Both follow the direct path only (embedding and position into this head's Q and K), so they are the whole truth in
layer 0 and leave out composition with earlier heads above it.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.errors import InputError
from interp.weights import TransformerWeights
from interp.weights.rotation import rotated


def positional_pattern(
    weights: TransformerWeights, head: tuple[int, int], bos: int | None = None
) -> Float[Tensor, "dest src"]:
    """The attention pattern that positions imply when every token is the average one.

    softmax over src <= dest (over every src in a bidirectional model) of q_dest R(dest - src) k_src^T / attn_scale,
    with q and k (biases included) of the mean token embedding plus the position; position 0 holds the token `bos` if
    one is given. Rows sum to 1.
    """
    weights.check_head(head)
    content = weights.W_E.mean(0).expand(weights.n_ctx, -1).clone()
    if bos is not None:
        content[0] = weights.W_E[bos]
    q, k = _queries_and_keys(weights, head, content, torch.arange(weights.n_ctx))
    scores = _rotated_scores(weights, q, k)
    if weights.attention_dir == "causal":
        future = torch.ones_like(scores, dtype=torch.bool).triu(1)
        scores = scores.masked_fill(future, -torch.inf)
    return scores.softmax(-1)


def token_scores(
    weights: TransformerWeights, head: tuple[int, int], tokens: Int[Tensor, " token"], offset: int = 1
) -> Float[Tensor, "token token"]:
    """Scores between tokens (query token x key token) with no position, `offset` apart for rotary positions.

    (N(W_E) W_Q + b_Q) R(offset) (N(W_E) W_K + b_K)^T / attn_scale, in score units. With smeared keys this is the
    score of the key's own token; the token before it gets the same score times (1 - s) / s.
    """
    return _token_scores(weights, head, tokens, tokens, offset)


def token_match(
    weights: TransformerWeights,
    head: tuple[int, int],
    exclude: int | None = None,
    offset: int = 1,
    sample: int | None = None,
    generator: torch.Generator | None = None,
) -> float:
    """Share of the vocabulary for which a query's own token is the key with the highest score; chance is 1 / tokens.

    `exclude` leaves one token out (the beginning-of-sequence token). With `sample`, that many query tokens are drawn
    with `generator`, without replacement, each against every key: an unbiased estimate whose standard error is at most
    1 / (2 sqrt(sample)); a sample that holds all tokens is the whole vocabulary. Raises `InputError` for tables of more
    than 20,000 x 20,000 scores, a sample without a generator, or an empty one.
    """
    keys = torch.arange(weights.d_vocab)
    keys = keys if exclude is None else keys[keys != exclude]
    rows = torch.arange(len(keys))
    if sample is not None:
        if generator is None or sample < 1:
            raise InputError(f"a sample of at least 1 token is drawn with generator=torch.Generator(), got {sample}")
        rows = torch.randperm(len(keys), generator=generator)[:sample]
    if len(rows) * weights.d_vocab > 20_000**2:
        raise InputError(
            f"token_match compares all pairs of tokens; {weights.d_vocab} tokens are too many (20000): pass sample=256"
        )
    best = _token_scores(weights, head, keys[rows], keys, offset).argmax(-1).cpu()
    return float((best == rows).double().mean())


def _token_scores(
    weights: TransformerWeights,
    head: tuple[int, int],
    queries: Int[Tensor, " query"],
    keys: Int[Tensor, " key"],
    offset: int,
) -> Float[Tensor, "query key"]:
    weights.check_head(head)
    layer, index = head

    def read(tokens: Tensor, letter: str) -> Tensor:
        x = weights.normalise(weights.W_E[tokens], *_gain(weights, layer))
        return x @ getattr(weights, f"W_{letter}")[layer, index] + getattr(weights, f"b_{letter}")[layer, index]

    return read(queries, "Q") @ weights.rotation(offset) @ read(keys, "K").T / weights.attn_scale


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
    return rotated(weights, q) @ rotated(weights, k).T / weights.attn_scale


def _gain(weights: TransformerWeights, layer: int) -> tuple[Tensor | None, Tensor | None]:
    w, b = weights.ln1_w, weights.ln1_b
    return (None if w is None else w[layer]), (None if b is None else b[layer])
