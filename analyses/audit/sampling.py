"""Weight evidence at the size of real models: a few heads, on some tokens of the vocabulary and the first positions."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from jaxtyping import Int
from torch import Tensor

from analyses.audit.matching import CHANNELS, Edge
from analyses.audit.mechanism import Way
from analyses.audit.plan import Plan
from analyses.audit.weight_evidence import WeightEvidence
from analyses.criteria import Criteria
from analyses.evidence import Measurement
from interp.circuits import DiagonalScores
from interp.circuits.diagonal import diagonal_scores
from interp.circuits.factored import Factored
from interp.circuits.tables import full_ov
from interp.names import Head
from interp.stats import Scored
from interp.weights import TransformerWeights


def sampled(
    weights: TransformerWeights, plan: Plan, bos: int | None, excluded: tuple[int, ...], generator: torch.Generator
) -> tuple[TransformerWeights, int | None]:
    """The same model with a vocabulary of `plan.tokens` random tokens and `plan.positions` positions, and its BOS.

    A part of each table over tokens: the entries are those of the whole table.
    """
    changes: dict[str, Tensor | int | None] = {}
    if plan.positions is not None:
        changes["n_ctx"] = min(plan.positions, weights.n_ctx)
        for name in ("W_pos", "W_pos_attn"):
            table = getattr(weights, name)
            changes[name] = None if table is None else table[..., : plan.positions, :]
    if plan.tokens is not None:
        kept = drawn(weights.d_vocab, plan.tokens, bos, excluded, generator)
        columns = {"W_U": weights.W_U[:, kept], "b_U": weights.b_U[kept]}
        changes |= {"W_E": weights.W_E[kept], **columns}
        bos = None if bos is None else 0
    return replace(weights, **changes), bos  # type: ignore[arg-type]


def drawn(
    d_vocab: int, n: int, bos: int | None, excluded: tuple[int, ...], generator: torch.Generator
) -> Int[Tensor, " token"]:
    """BOS first where there is one, then `n` other tokens at random, in order."""
    gone = {*excluded, *(() if bos is None else (bos,))}
    order = [token for token in torch.randperm(d_vocab, generator=generator).tolist() if token not in gone]
    return torch.tensor([*(() if bos is None else (bos,)), *sorted(order[:n])])


class SampledWeights(WeightEvidence):
    """Weight evidence of some heads; for the others only where positions alone would send them."""

    def __init__(
        self,
        weights: TransformerWeights,
        edges: Mapping[Head, tuple[Edge, ...]],
        criteria: Criteria,
        generator: torch.Generator,
        bos: int | None,
        heads: tuple[Head, ...],
    ):
        self.heads = heads
        super().__init__(weights, edges, criteria, generator, bos)

    def scored_copying(self, weights: TransformerWeights, generator: torch.Generator) -> DiagonalScores:
        """Of these heads; NaN for the others."""
        return copying_of(weights, self.heads, generator)

    def reading(self, role: str, head: Head) -> tuple[Measurement, ...]:
        return super().reading(role, head) if head in self.heads else ()

    def copies(self, head: Head, rises: bool) -> tuple[Measurement, ...]:
        return super().copies(head, rises) if head in self.heads else ()

    def matched(self, head: Head) -> dict[Way, bool]:
        """Ways through earlier heads that were not tried cannot be excluded."""
        if head not in self.heads:
            return {}
        return super().matched(head) | (dict.fromkeys(CHANNELS, True) if self.untried(head) else {})

    def untried(self, head: Head) -> int:
        """Earlier heads through which its QK circuit was not read."""
        return head.layer * self.weights.n_heads - len({edge.earlier for edge in self.edges.get(head, ())})

    def _matching(self, head: Head) -> Measurement:
        found, untried = super()._matching(head), self.untried(head)
        if found.holds is not False or not untried:
            return found
        return replace(found, holds=None, rule=f"{found.rule}; else undecided: {untried} others were not tried")


def weight_evidence(
    weights: TransformerWeights,
    edges: Mapping[Head, tuple[Edge, ...]],
    criteria: Criteria,
    generator: torch.Generator,
    bos: int | None,
    heads: tuple[Head, ...] | None,
) -> WeightEvidence:
    """Of all heads, or in full for `heads` only."""
    if heads is None:
        return WeightEvidence(weights, edges, criteria, generator, bos)
    return SampledWeights(weights, edges, criteria, generator, bos, heads)


def copying_of(weights: TransformerWeights, heads: tuple[Head, ...], generator: torch.Generator) -> DiagonalScores:
    """`copying_score` of these heads, [layer head] with NaN for the others."""
    every = full_ov(weights)
    at = [head.layer for head in heads], [head.index for head in heads]
    A, B = every.A.expand(*every.batch, -1, -1)[at], every.B.expand(*every.batch, -1, -1)[at]
    found = diagonal_scores(Factored(A, B), generator)

    def put(scored: Scored) -> Scored:
        value = scored.value.new_full((weights.n_layers, weights.n_heads), torch.nan)
        draws = scored.draws.new_full((scored.n, weights.n_layers, weights.n_heads), torch.nan)
        value[at], draws[(slice(None), *at)] = scored.value, scored.draws
        return Scored(value, draws, scored.null)

    spread = replace(found, cosine=put(found.cosine), top1=put(found.top1))
    spread.__dict__["eigenvalue"] = put(found.eigenvalue)  # what the cached property would compute, for these heads
    return spread
