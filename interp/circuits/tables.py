"""What a head's weights say by themselves: its QK and OV circuits, in the residual stream and in token space.

Rows are vectors here. Elhage et al. 2021 ("A Mathematical Framework for Transformer Circuits") use columns: their
`W_QK = W_Q^T W_K`, `W_OV = W_O W_V`, `W_E^T W_QK W_E` and `W_U W_OV W_E` are, with everything transposed,

    QK = W_Q W_K^T          score of dest x and source y: x QK y^T / attn_scale
    OV = W_V W_O            what attending fully to y adds to the residual stream: y OV
    full QK = W_E QK W_E^T  [dest token, source token]
    full OV = W_E OV W_U    [source token, logit of output token]

This is said once, here. A scale per position remains where the model normalises (see `TransformerWeights.folded`):
each row and column of a full circuit then holds up to a positive factor. Where weights were not folded, gains and
centring are applied on the way, so that full circuits are the same either way; `qk` and `ov` are of the weights as
they stand. In layers above the first, tokens reach a head through other heads too: these are the direct terms.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.circuits.diagonal import DiagonalScores, diagonal_scores
from interp.circuits.entries import Progress, check_finite, largest_in_rows, tile_rows
from interp.circuits.factored import Factored
from interp.errors import InputError
from interp.inputs import checked
from interp.weights import TransformerWeights

Source = Literal["token", "position"]


@checked
def qk(w: TransformerWeights, head: tuple[int, int] | None = None, offset: int | None = None) -> Factored:
    """QK = W_Q R(offset) W_K^T, `[d_model d_model]`, of one (layer, head), or of all as `[layer head ..]`.

    Without the factor 1 / attn_scale and without biases. Rotary positions need `offset` = dest - src. For smeared keys
    it applies to the key at j with weight s and to the one at j - 1 with weight 1 - s.
    """
    at = select(w, head)
    return Factored(w.W_Q[at] @ w.rotation(offset), w.W_K[at].mT)


@checked
def ov(w: TransformerWeights, head: tuple[int, int] | None = None) -> Factored:
    """OV = W_V W_O, `[d_model d_model]`, of one (layer, head), or of all as `[layer head ..]`."""
    at = select(w, head)
    return Factored(w.W_V[at], w.W_O[at])


@checked
def full_qk(
    w: TransformerWeights,
    head: tuple[int, int] | None = None,
    query: Source = "token",
    key: Source = "token",
    offset: int | None = None,
    biases: bool = False,
) -> Factored:
    """`X_query W_Q R(offset) (X_key W_K)^T`, [dest, source], with X the token embedding or the position table.

    Attention scores are this divided by `w.attn_scale`. By default the biases are left out: b_K adds the same to all
    keys of a query, which the softmax ignores, and b_Q · k a preference for keys that is the same for every query.
    With `biases` they join the token sides, so that in a model of one layer without normalisation the tables (token,
    token), (token, position), (position, token) and (position, position) add up to the scores.
    Raises `InputError` where the model has no position table, or for rotary positions without an offset.
    """
    left = attention_side(w, head, "Q", query, biases)
    right = attention_side(w, head, "K", key, biases)
    return Factored(left @ w.rotation(offset), right.mT)


@checked
def full_ov(w: TransformerWeights, head: tuple[int, int] | None = None, source: Source = "token") -> Factored:
    """`X W_V W_O W_U`, [source, logit of the output token], for X the token embedding or the position table.

    b_V and b_O are left out: they add the same logits whatever the head attends to.
    Raises `InputError` for positions that never reach V.
    """
    at = select(w, head)
    if source == "position" and w.W_pos is None:
        raise InputError("source='position' needs positions in the residual stream (standard); V never sees others")
    x = attention_input(w, head, w.W_E if source == "token" or w.W_pos is None else w.W_pos)
    return Factored(x @ w.W_V[at], final_input(w, w.W_O[at]) @ w.W_U)


@checked
def direct_path(w: TransformerWeights, source: Source = "token") -> Factored:
    """`W_E W_U`, [present token, logit of the next], the bigram table of Elhage et al. (b_U left out).

    For standard positions, source="position" gives `W_pos W_U`, what is added at each position. Where embeddings are
    tied and no final gain stands between, the table is symmetric (see `asymmetry`); its softmax is not.
    """
    if source == "position" and w.W_pos is None:
        raise InputError("source='position' needs positions in the residual stream (standard)")
    return Factored(final_input(w, w.W_E if source == "token" or w.W_pos is None else w.W_pos), w.W_U)


def asymmetry(table: Factored) -> Float[Tensor, "*batch"]:
    """||B - B^T||_F / ||B||_F: 0 for a symmetric table, about sqrt(2) for an unrelated one, 2 for an antisymmetric."""
    table.check_square()
    norm = table.norm()
    return (table - table.T).norm() / norm.clamp_min(torch.finfo(norm.dtype).tiny)


@checked
def copying_score(
    w: TransformerWeights, generator: torch.Generator, head: tuple[int, int] | None = None, draws: int = 200
) -> DiagonalScores:
    """How much attending to a token raises that token: `diagonal_scores` of the full OV circuit (or of all heads').

    Its `eigenvalue` is the copying score of Elhage et al., sum(lambda) / sum(|lambda|), of logits relative to their
    mean over the vocabulary (the softmax ignores the rest). Positive eigenvalues alone do not prove copying: read it
    with the diagonal's share of the table and `top1`. For vocabularies of tens of thousands see
    `interp.circuits.spectra`.
    """
    return diagonal_scores(full_ov(w, head), generator, draws)


class SkipTrigram(NamedTuple):
    """[src] ... [dst] -> [out], in tokens: `score = attention * logit`."""

    src: int
    dst: int
    out: int
    score: float
    attention: float
    """Score of src at dst minus the mean over sources, in units of attention scores (nats, before the softmax)."""
    logit: float
    """What attending to src adds to the logit of out, minus the mean over outputs, in nats."""


@checked
def skip_trigrams(
    w: TransformerWeights,
    head: tuple[int, int],
    k: int = 20,
    offset: int | None = None,
    progress: Progress | None = None,
    without_outs: Sequence[int] = (),
) -> list[SkipTrigram]:
    """The k strongest token triples of a head, largest first: at dst it attends to src and so raises out.

        score(src, dst, out) = a(dst, src) * o(src, out),        only where both are positive
        a = (full_qk with biases)[dst, src] / attn_scale - mean over src,    o = full_ov[src, out] - mean over out

    Both factors are what the softmax sees (it ignores the means). Positions, and for smeared keys the token before
    src, are left out; rotary positions need `offset` = dest - src. The triples of one src are all pairs of its dsts
    and outs: a head that has keep..in -> mind and keep..at -> bay has keep..in -> bay as well (the "bug" of
    skip-trigrams in Elhage et al. 2021). Streamed by tiles of source tokens, which `progress` wraps: a source whose
    largest a times its largest o does not reach the k-th triple so far is passed over.
    `without_outs` are left out as outs: tokens that are never predicted, as one that begins sequences.
    """
    if k < 1:
        raise InputError(f"k must be at least 1, got {k}")
    attention = full_qk(w, head, offset=offset, biases=True)
    attends = Factored((attention.B - attention.B.mean(-1, keepdim=True)).mT / w.attn_scale, attention.A.mT)  # src dst
    raises = centred_rows(full_ov(w, head))  # src out
    for table in (attends, raises):
        check_finite(table)
    best: list[SkipTrigram] = []
    tiles = list(tile_rows(attends.shape[-2], max(attends.shape[-1], raises.shape[-1], k * k)))
    for src in tiles if progress is None else progress(tiles):
        a, o = attends.rows(src), raises.rows(src)
        o[:, list(without_outs)] = 0
        reach = a.amax(-1).clamp_min(0) * o.amax(-1)
        hit = reach.topk(min(k, len(src))).indices
        hit = hit[reach[hit] > (best[-1].score if len(best) == k else 0)]
        if len(hit):
            best = sorted([*best, *triples(src[hit], a[hit], o[hit], k)], key=lambda triple: -triple.score)[:k]
    return best


def triples(
    src: Int[Tensor, " src"], attends: Float[Tensor, "src dst"], raises: Float[Tensor, "src out"], k: int
) -> list[SkipTrigram]:
    """The k strongest of some sources, those above 0."""
    a, o = largest_in_rows(attends, k), largest_in_rows(raises, k)
    product = a.value.clamp_min(0)[:, :, None] * o.value[:, None, :]
    top, flat = product.flatten().topk(min(k, product.numel()))
    row, i, j = (index.tolist() for index in torch.unravel_index(flat, product.shape))
    return [
        SkipTrigram(
            int(src[r]), int(a.column[r, p]), int(o.column[r, q]), score, float(a.value[r, p]), float(o.value[r, q])
        )
        for score, r, p, q in zip(top.tolist(), row, i, j, strict=True)
        if score > 0
    ]


def centred_rows(table: Factored) -> Factored:
    """Minus its mean over columns."""
    return Factored(table.A, table.B - table.B.mean(-1, keepdim=True))


def select(w: TransformerWeights, head: tuple[int, int] | None) -> tuple[int, int] | slice:
    """An index into `[layer head ..]`; `InputError` if there is no such head."""
    if head is None:
        return slice(None)
    w.check_head(head)
    return (head[0], head[1])


def attention_side(
    w: TransformerWeights, head: tuple[int, int] | None, letter: Literal["Q", "K"], source: Source, biases: bool
) -> Float[Tensor, "*heads n d_head"]:
    """Queries (or keys) of all tokens or positions, before rotation."""
    at = select(w, head)
    W, b = getattr(w, f"W_{letter}")[at], getattr(w, f"b_{letter}")[at]
    if source == "token":
        side = attention_input(w, head, w.W_E, biases) @ W
        return side + b.unsqueeze(-2) if biases else side
    if w.W_pos_attn is not None:
        return (w.W_pos_attn[:, None] if head is None else w.W_pos_attn[head[0]]) @ W
    if w.W_pos is None:
        raise InputError(f"{source!r} needs a table of positions, but this model's are rotary or there are none")
    return attention_input(w, head, w.W_pos) @ W


def attention_input(
    w: TransformerWeights, head: tuple[int, int] | None, x: Float[Tensor, "n d_model"], biases: bool = False
) -> Float[Tensor, "*heads n d_model"]:
    """What a term x of the residual stream is after the part of the normalisation that was not folded, scale aside."""
    x = x - x.mean(-1, keepdim=True) if w.normalization in ("LN", "LNPre") else x
    at = slice(None) if head is None else head[0]
    if w.ln1_w is not None:
        x = x * (w.ln1_w[:, None, None] if head is None else w.ln1_w[at])
    if w.ln1_b is not None and biases:
        x = x + (w.ln1_b[:, None, None] if head is None else w.ln1_b[at])
    return x


def final_input(w: TransformerWeights, x: Float[Tensor, "*rest d_model"]) -> Float[Tensor, "*rest d_model"]:
    """The same before the unembedding."""
    x = x - x.mean(-1, keepdim=True) if w.normalization in ("LN", "LNPre") else x
    return x if w.ln_final_w is None else x * w.ln_final_w
