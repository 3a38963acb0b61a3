"""Composition in token space, of all pairs at once: eigenvalues and trace of the Q-, K- and V-terms.

With E the rows that enter the residual stream, [W_E; W_pos] (W_E alone where positions are not added to it, and for V,
which ends in logits), e the earlier and l the later head, the terms are

    K:  E QK_l (E OV_e)^T      Q:  E OV_e QK_l E^T      V:  W_E OV_e OV_l W_U

as `interp.composition.tokens.token_table` has them one by one, minus the mean of each row, which the softmax ignores.
Nothing of the size of the vocabulary is made for a pair: the eigenvalues are those of the d_head x d_head matrix
(W_O^e U W^l)(W'^l G W_V^e), in which G is d_model x d_model and the same for all pairs, and U is the identity.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.circuits.diagonal import NULL as RELABELLED
from interp.circuits.diagonal import ratio
from interp.circuits.eigenvalues import eigenvalues
from interp.composition.kinds import Kind, check_finite, check_kind, is_pair, needs_offset
from interp.errors import InputError
from interp.inputs import checked
from interp.stats import Scored
from interp.weights import TransformerWeights

ROTATED = "the same term with a random (Haar) rotation of the residual stream between the earlier and the later head"
AT_ONCE = 2**22
"""Most numbers of the factors of all pairs that are held at once."""


@dataclass(frozen=True)
class TermScores:
    """Two readings of each term `[earlier layer, head, later layer, head]`, beside two nulls; NaN where no pair is.

    Read the relabelled null first: a change of basis of the residual stream or inside heads moves neither the values
    nor that null. The rotated one asks whether *this* earlier head is needed, but the basis in which it is turned is
    fixed by normalisation only: in a model without, that null is one of the many that equal models would give.
    """

    kind: Kind
    eigenvalue: Scored
    """sum(lambda) / sum(|lambda|), -1..1: 1 for a term that favours each token's (or position's) own self in every
    direction. The null relabels columns, tokens among tokens and positions among positions."""
    trace: Scored
    """Mean over rows of the own entry minus the row's mean, in attention scores (Q, K) or logits (V); same null."""
    rotated_eigenvalue: Scored | None
    rotated_trace: Scored | None
    rows: int
    """Tokens, and positions where they are rows of E."""

    def to_dict(self) -> dict[str, Any]:
        named = {
            "eigenvalue": self.eigenvalue,
            "trace": self.trace,
            "rotated_eigenvalue": self.rotated_eigenvalue,
            "rotated_trace": self.rotated_trace,
        }
        scores = {name: None if scored is None else scored.to_dict() for name, scored in named.items()}
        return {"kind": self.kind, "rows": self.rows, **scores}


@dataclass(frozen=True, eq=False)
class Term:
    """One kind of term, with the head matrices as they read what the residual stream holds."""

    write: Float[Tensor, "layer head d_head d_model"]
    read: Float[Tensor, "layer head d_model d_head"]
    other: Float[Tensor, "layer head d_head d_model"]
    value: Float[Tensor, "layer head d_model d_head"]
    rows: Float[Tensor, "n d_model"]
    columns: Float[Tensor, "n d_model"]
    """Their mean taken away."""
    moved_is_row: bool
    unit: float
    rounding: float

    def middle(self, order: Int[Tensor, " n"]) -> Float[Tensor, "d_model d_model"]:
        """G, with the columns relabelled."""
        G = self.rows.mT @ self.columns[order]
        return G.mT if self.moved_is_row else G


@checked
def term_scores(
    w: TransformerWeights,
    kind: Kind,
    generator: torch.Generator,
    draws: int = 200,
    offset: int | None = None,
    positions: bool = True,
    rotated: bool = True,
) -> TermScores:
    """`TermScores` of all pairs; `positions=False` leaves positions out of E, `rotated=False` the second null.

    Rotary positions need `offset` = dest - src for Q and K. Biases are left out, and, where the model normalises, a
    positive scale for each row and column.
    Raises `InputError` for another kind, weights that are not finite, fewer than two draws or rows, rotary positions
    without an offset, and a V-term whose output vocabulary is another than the input's.
    """
    check_kind(kind)
    check_finite(w)
    made = term(w, kind, offset, positions)
    n, d = made.rows.shape
    if draws < 2 or n < 2:
        raise InputError(f"a term is scored with at least 2 rows and 2 draws, got {n} and {draws}")
    same, still = torch.arange(n), torch.eye(d, dtype=torch.float64)
    values = readings(made, made.middle(same), still)
    blocks = [w.d_vocab, n - w.d_vocab]

    def beside(null: str, draw: Callable[[], tuple[Tensor, Tensor]]) -> tuple[Scored, Scored]:
        found = [draw() for _ in range(draws)]
        shares, traces = (spread(w, torch.stack([each[i] for each in found])) for i in (0, 1))
        return Scored(spread(w, values[0]), shares, null), Scored(spread(w, values[1]), traces, null)

    eigenvalue, trace = beside(RELABELLED, lambda: readings(made, made.middle(shuffled(blocks, generator)), still))
    if not rotated:
        return TermScores(kind, eigenvalue, trace, None, None, n)
    turned = beside(ROTATED, lambda: readings(made, made.middle(same), rotation(d, generator)))
    return TermScores(kind, eigenvalue, trace, *turned, n)


def term(w: TransformerWeights, kind: Kind, offset: int | None, positions: bool) -> Term:
    """The matrices of a kind of term, in float64 on the CPU."""
    rounding = torch.finfo(w.dtype).eps
    w = w.to(dtype=torch.float64, device="cpu")
    W_Q, W_K, W_V = (effective(w, matrix) for matrix in (w.W_Q, w.W_K, w.W_V))
    R = w.rotation(offset if needs_offset(w, kind) else 0)
    E = w.W_E if w.W_pos is None or kind == "V" or not positions else torch.cat([w.W_E, w.W_pos])
    columns, unit = E, w.attn_scale
    read, other = (W_K, (W_Q @ R).mT) if kind == "K" else (W_Q, R @ W_K.mT)
    if kind == "V":
        read, other, columns, unit = W_V, w.W_O, final(w).mT, 1.0
        if len(columns) != len(E):
            raise InputError(f"a V-term needs as many tokens out as in, got {len(columns)} and {len(E)}")
    return Term(w.W_O, read, other, W_V, E, columns - columns.mean(0), kind != "K", unit, rounding)


def effective(w: TransformerWeights, W: Float[Tensor, "layer head d_model d_head"]) -> Tensor:
    """The matrix that reads the residual stream itself, with what was not folded of the normalisation, scale aside."""
    W = W if w.ln1_w is None else w.ln1_w[:, None, :, None] * W
    return W - W.mean(-2, keepdim=True) if w.normalization in ("LN", "LNPre") else W


def final(w: TransformerWeights) -> Float[Tensor, "d_model d_vocab_out"]:
    """The unembedding, likewise."""
    W = w.W_U if w.ln_final_w is None else w.ln_final_w[:, None] * w.W_U
    return W - W.mean(0) if w.normalization in ("LN", "LNPre") else W


def readings(
    made: Term, G: Float[Tensor, "d_model d_model"], U: Float[Tensor, "d_model d_model"]
) -> tuple[Float[Tensor, " pair"], Float[Tensor, " pair"]]:
    """Eigenvalue share and trace of every pair's term, in the order of `is_pair`."""
    n_layers, n_heads, d_head, d_model = made.write.shape
    layers = torch.arange(n_layers).repeat_interleave(n_heads)
    early, late = (layers[:, None] < layers).nonzero().unbind(1)
    write, read = (made.write @ U).flatten(0, 1), made.read.flatten(0, 1)
    other, value = (made.other @ G).flatten(0, 1), made.value.flatten(0, 1)
    sizes = [torch.linalg.matrix_norm(each) for each in (write, read, made.other.flatten(0, 1), value)]
    noise = made.rounding * torch.linalg.matrix_norm(G) * sizes[0][early] * sizes[1][late] * sizes[2][late]
    noise = noise * sizes[3][early]
    shares, traces = [], []
    step = max(1, AT_ONCE // max(1, d_head * d_model))
    for e, later in zip(early.split(step), late.split(step), strict=True):
        core = (write[e] @ read[later]) @ (other[later] @ value[e])
        traces.append(core.diagonal(dim1=-2, dim2=-1).sum(-1))
        shares.append(eigenvalues(core).abs().sum(-1))
    trace, total = (torch.cat(each) if each else noise for each in (traces, shares))
    share = torch.where(total > noise, ratio(trace, total), 0.0).clamp(-1, 1)
    return share, trace / (len(made.rows) * made.unit)


def shuffled(blocks: list[int], generator: torch.Generator) -> Int[Tensor, " n"]:
    """A random order of each block by itself."""
    orders, start = [], 0
    for size in blocks:
        orders.append(start + torch.randperm(size, generator=generator, device=generator.device).cpu())
        start += size
    return torch.cat(orders)


def rotation(d_model: int, generator: torch.Generator) -> Float[Tensor, "d_model d_model"]:
    """A Haar-distributed orthogonal matrix (QR with the signs of R's diagonal, Mezzadri 2007)."""
    normal = torch.randn(d_model, d_model, generator=generator, dtype=torch.float64, device=generator.device).cpu()
    Q, R = torch.linalg.qr(normal)
    return Q * R.diagonal().sign()


def spread(w: TransformerWeights, pairs: Float[Tensor, "*draw pair"]) -> Float[Tensor, "*draw layer head layer head"]:
    """The pairs at their places; NaN elsewhere."""
    at = is_pair(w)
    found = pairs.new_full((*pairs.shape[:-1], *at.shape), float("nan"))
    found[..., at] = pairs
    return found
