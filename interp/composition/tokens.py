"""Composition in token space: the term of a score or a logit that goes through an earlier head's OV circuit.

Raw composition scores compare matrices in the residual stream, whose basis is arbitrary without normalisation. The
terms here are tables between tokens (or positions), which no change of basis moves:

    K:  X_other W_QK^l (X_moved W_OV^e)^T     [query, token that the earlier head moved into the key]
    Q:  X_moved W_OV^e W_QK^l X_other^T       [token that the earlier head moved into the query, key]
    V:  X_moved W_OV^e W_OV^l W_U             [token that both moved, logit of the output token]

(Elhage et al. 2021; Olsson et al. 2022 trace the K term for previous-token heads.) An induction head that is fed by a
previous-token head has a K term with large diagonal: the key after a token matches the same token as query. One that
follows a pointer has a Q term from positions to positions with large entries at shift 1: the query holds the position
of the earlier copy, p, and matches the key at p + 1.
"""

import torch

from interp.circuits.diagonal import DiagonalScores, diagonal_scores
from interp.circuits.factored import Factored
from interp.circuits.tables import Source, attention_input, attention_side, final_input
from interp.composition.kinds import Kind, check_finite, check_kind, check_pair
from interp.errors import InputError
from interp.inputs import checked
from interp.weights import TransformerWeights


def token_table(
    w: TransformerWeights,
    earlier: tuple[int, int],
    later: tuple[int, int],
    kind: Kind,
    moved: Source = "token",
    other: Source = "token",
    offset: int | None = None,
) -> Factored:
    """The table of the module's docstring, of rank d_head; scores need `/ attn_scale` besides.

    Rows are queries and columns keys (K and Q), or rows sources and columns outputs (V). `moved` is what the earlier
    head carries, `other` what it meets at the later head; each "token" or "position". Biases are left out, and where
    the model normalises, a positive scale per row and column. Smeared keys apply on top, as in `qk`.
    Raises `InputError` for heads that do not exist or do not follow each other, for weights that are not finite, for
    positions that the earlier head cannot carry (those not in the residual stream), and for rotary positions without
    an offset.
    """
    check_pair(w, earlier, later)
    check_kind(kind)
    check_finite(w)
    if moved == "position" and w.W_pos is None:
        raise InputError("an earlier head carries positions only if they are in the residual stream (standard)")
    x = attention_input(w, earlier, w.W_E if moved == "token" or w.W_pos is None else w.W_pos) @ w.W_V[earlier]
    written = attention_input(w, later, w.W_O[earlier])
    if kind == "V":
        out = final_input(w, w.W_O[later]) @ w.W_U
        return Factored(x, written @ w.W_V[later] @ out)
    R = w.rotation(offset)
    if kind == "Q":
        key = attention_side(w, later, "K", other, biases=False)
        return Factored(x, written @ w.W_Q[later] @ R @ key.mT)
    query = attention_side(w, later, "Q", other, biases=False)
    return Factored(query @ R @ (written @ w.W_K[later]).mT, x.mT)


@checked
def token_composition(
    w: TransformerWeights,
    earlier: tuple[int, int],
    later: tuple[int, int],
    kind: Kind,
    generator: torch.Generator,
    draws: int = 200,
    moved: Source = "token",
    other: Source = "token",
    offset: int | None = None,
    shift: int = 0,
) -> DiagonalScores:
    """How much the term favours its own diagonal (or the entries (i, i + shift)), beside relabelled columns.

    `diagonal_scores` of `token_table`: the same under any change of basis of the residual stream or inside heads, and
    so is its null; a rotated earlier head is a null only in the basis one happens to be in (for that one, and for all
    pairs at once, see `interp.composition.terms`). For pointers:
    kind="Q", moved=other="position", shift=1. Smooth position tables have smooth terms, with large eigenvalues at any
    small shift: there read `top1`, and the neighbouring shifts.
    """
    return diagonal_scores(token_table(w, earlier, later, kind, moved, other, offset), generator, draws, shift)
