"""Olsson et al.'s weight-based induction score: the trace of the QK circuit through previous-token heads.

For a head h, with p_e the share of attention that each earlier head e gives to the token before it (measured on
tokens), the K-terms of all earlier heads, weighted by how much each looks back (Olsson et al. 2022):

    W = sum_e p_e W_E W_QK^h (W_E W_OV^e)^T        [query token, token that e moved into the key]

Its trace is large for a head that matches the present token with the token before the key.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.circuits.diagonal import NULL, DiagonalScores, diagonal_scores
from interp.circuits.factored import Factored
from interp.composition.tokens import token_table
from interp.errors import InputError
from interp.heads.matching import mass, offset_entries
from interp.names import Head
from interp.paths.frozen import FrozenRun
from interp.stats import Scored
from interp.weights import TransformerWeights


@dataclass(frozen=True, eq=False)
class PreviousTokenTrace:
    """Of every head in layer 1 and above, in order of `heads`."""

    heads: tuple[Head, ...]
    looks_back: Float[Tensor, "layer head"]
    """p_e: mean attention of each head to the token before."""
    trace: Scored
    """Trace of W / attn_scale: score units, summed over the vocabulary; row means removed. [head]"""
    diagonal: DiagonalScores
    """Eigenvalue ratio, cosine with the identity and top-1 share of the same table. [head]"""

    def to_dict(self) -> dict[str, Any]:
        return {
            "heads": [str(head) for head in self.heads],
            "looks_back": self.looks_back.tolist(),
            "trace": self.trace.to_dict(),
            "diagonal": self.diagonal.to_dict(),
        }


def previous_token_trace(
    run: FrozenRun, generator: torch.Generator, draws: int = 200, offset: int | None = None
) -> PreviousTokenTrace:
    """The trace and its null: the same table with its columns relabelled at random.

    `run` gives the weights and p_e; rotary positions need `offset` = dest - src.
    Raises `InputError` for a model of fewer than two layers.
    """
    w = run.weights
    if w.n_layers < 2:
        raise InputError(f"the trace runs through an earlier head: it needs two layers, the model has {w.n_layers}")
    entries = offset_entries(run.tokens, 1)
    looks_back = torch.stack([mass(pattern, entries).mean(0) for pattern in run.patterns])
    heads = tuple(Head(layer, index) for layer in range(1, w.n_layers) for index in range(w.n_heads))
    tables = [weighted_terms(w, head, looks_back, offset) for head in heads]
    width = max(table.rank for table in tables)
    stacked = Factored(
        torch.stack([padded(table.A, width) for table in tables]),
        torch.stack([padded(table.B.mT, width).mT for table in tables]),
    )
    diagonal = diagonal_scores(stacked, generator, draws)
    return PreviousTokenTrace(heads, looks_back, trace_of(stacked, diagonal, w.attn_scale), diagonal)


def weighted_terms(w: TransformerWeights, head: Head, looks_back: Tensor, offset: int | None) -> Factored:
    """W of one head, as one factored table."""
    earlier = [Head(layer, index) for layer in range(head.layer) for index in range(w.n_heads)]
    terms = [token_table(w, e, head, "K", offset=offset) for e in earlier]
    A = torch.cat([looks_back[e] * term.A for e, term in zip(earlier, terms, strict=True)], dim=-1)
    return Factored(A, torch.cat([term.B for term in terms], dim=-2))


def trace_of(table: Factored, diagonal: DiagonalScores, attn_scale: float) -> Scored:
    """The cosine of the centred table with the identity, as a trace: both are the same sum, scaled."""
    B = table.B.double()
    centred = Factored(table.A.double(), B - B.mean(-1, keepdim=True))
    scale = centred.norm() * (table.shape[-1] - 1) ** 0.5 / attn_scale
    return Scored(diagonal.cosine.value * scale, diagonal.cosine.draws * scale, NULL)


def padded(A: Float[Tensor, "n rank"], width: int) -> Float[Tensor, "n width"]:
    """With columns of zeros, so that tables of different rank can be stacked."""
    return torch.nn.functional.pad(A, (0, width - A.shape[-1]))
