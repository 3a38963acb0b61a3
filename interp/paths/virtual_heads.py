"""Virtual heads: heads of several layers that act as one, moving what the one before them moved.

A chain h1, h2, ..., hk of heads in ascending layers has a pattern and an OV circuit of its own (Elhage et al. 2021),

    A = A_k ... A_2 A_1        OV = W_V^1 W_O^1 W_V^2 W_O^2 ... W_V^k W_O^k        (rows are vectors)

What it does to the loss is measured by `interp.paths.importance`, its part in a logit by `interp.paths.logits`. Where
the model normalises, a positive scale for each position stands before every read and is not in these products.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from interp.circuits.factored import Factored
from interp.circuits.tables import Source, attention_input, attention_side, final_input
from interp.errors import InputError
from interp.inputs import checked
from interp.names import Head
from interp.paths.frozen import FrozenRun
from interp.paths.path import checked_chain
from interp.weights import TransformerWeights

Chain = Iterable[tuple[int, int] | str]
"""Heads in ascending layers, each (layer, index) or a name as "L0H1"."""


def virtual_pattern(run: FrozenRun, chain: Chain) -> Float[Tensor, "batch dest src"]:
    """A_k ... A_1: where a chain's output at dest comes from. Rows sum to 1, as those of any pattern do.

    Raises `InputError` for an empty chain, heads that do not exist, or that do not follow each other in depth.
    """
    first, *rest = named_chain(run.weights, chain)
    pattern = run.patterns[first.layer][:, first.index]
    for head in rest:
        pattern = run.patterns[head.layer][:, head.index] @ pattern
    return pattern


@checked
def virtual_ov(w: TransformerWeights, chain: Chain) -> Factored:
    """W_V^1 (W_O^1 W_V^2 ...) W_O^k, [d_model d_model] of rank d_head; its `singular_values` are its spectrum.

    Raises `InputError` as `virtual_pattern`.
    """
    heads = named_chain(w, chain)
    return Factored(w.W_V[heads[0]], inner(w, heads) @ w.W_O[heads[-1]])


@checked
def virtual_full_ov(w: TransformerWeights, chain: Chain, source: Source = "token") -> Factored:
    """X W_V^1 ... W_O^k W_U, [source, logit of the output token], for X the token embedding or the position table.

    Its `eigenvalues`, and `diagonal_scores` of it, say whether the virtual head copies. Biases are left out.
    Raises `InputError` as `virtual_pattern`, and for positions that never reach V.
    """
    heads = named_chain(w, chain)
    if source == "position" and w.W_pos is None:
        raise InputError("source='position' needs positions in the residual stream (standard); V never sees others")
    x = attention_input(w, heads[0], w.W_E if source == "token" or w.W_pos is None else w.W_pos)
    out = final_input(w, w.W_O[heads[-1]]) @ w.W_U
    return Factored(x @ w.W_V[heads[0]], inner(w, heads) @ out)


@checked
def score_table(
    w: TransformerWeights,
    head: tuple[int, int] | str,
    query: Chain = (),
    key: Chain = (),
    query_source: Source = "token",
    key_source: Source = "token",
    offset: int | None = None,
) -> Factored:
    """The QK circuit of a head in token space, its query and its key each come through a chain of earlier heads.

        X_q (W_V^1 W_O^1 ...) W_Q R(offset) W_K^T (... W_O^1^T W_V^1^T) X_k^T        [query token, key token]

    With both chains empty this is `full_qk`; with one head into the key it is the K-term of Elhage et al. 2021 (and
    Olsson et al. 2022), into the query the Q-term, into both the term of Q- and K-composition at once. Scores are this
    divided by `attn_scale`. Biases are left out; smeared keys apply on top, as in `circuits.qk`.
    Raises `InputError` for chains that do not end before the head, for positions that no chain can carry, and for
    rotary positions without an offset.
    """
    left = read_side(w, head, "Q", query, query_source)
    return Factored(left @ w.rotation(offset), read_side(w, head, "K", key, key_source).mT)


def read_side(
    w: TransformerWeights, head: tuple[int, int] | str, letter: Literal["Q", "K"], chain: Chain, source: Source
) -> Float[Tensor, "source d_head"]:
    """What the head's query (or key) reads of each token or position through a chain."""
    *before, head = checked_chain([*chain, head], w.n_layers, w.n_heads)
    if not before:
        return attention_side(w, head, letter, source, biases=False)
    if source == "position" and w.W_pos is None:
        raise InputError("an earlier head carries positions only if they are in the residual stream (standard)")
    x = attention_input(w, before[0], w.W_E if source == "token" or w.W_pos is None else w.W_pos)
    W = w.W_Q[head] if letter == "Q" else w.W_K[head]
    return x @ w.W_V[before[0]] @ inner(w, before) @ attention_input(w, head, w.W_O[before[-1]]) @ W


def inner(w: TransformerWeights, heads: Sequence[tuple[int, int]]) -> Float[Tensor, "d_head d_head"]:
    """W_O^1 W_V^2 W_O^2 ... W_V^k: from the first head's space to the last one's; I for a single head."""
    product = torch.eye(w.d_head, dtype=w.dtype, device=w.device)
    for earlier, later in pairwise(heads):
        product = product @ attention_input(w, later, w.W_O[earlier]) @ w.W_V[later]
    return product


def named_chain(w: TransformerWeights, chain: Chain) -> tuple[Head, ...]:
    heads = checked_chain(chain, w.n_layers, w.n_heads)
    if not heads:
        raise InputError("a virtual head needs at least one head; name them in order of depth")
    return heads
