"""`interp composition`: which later head can read which earlier one, by the weights."""

from itertools import product

import torch

from analyses.arguments import Composition
from analyses.commands.composition_found import Found
from analyses.commands.composition_text import report
from analyses.loading import Subject, load_subject
from analyses.output import deliver, png
from interp.circuits import Factored, diagonal_scores
from interp.composition import (
    Kind,
    Pieces,
    composition_by_offset,
    composition_pieces,
    compositions,
    projection_kernel,
    term_scores,
    token_table,
)
from interp.composition.edges import LEVEL, Edge
from interp.names import Head
from interp.plots.composition import composition_matrices, effect_graph
from interp.stats import Scored
from interp.weights import TransformerWeights, weights_of
from toy_models.errors import InputError

KINDS: tuple[Kind, ...] = ("K", "Q", "V")
DRAWS = 1000
EIGENVALUES = 5_000
"""Of about so many small matrices the eigenvalues are taken for each null in token space, if that leaves 19 draws."""
PIECES = 5
"""Edges of which the rank-1 pieces are listed."""


def run(arguments: Composition) -> int:
    """Scores of all pairs of heads in the residual stream and in token space."""
    subject = load_subject(arguments.model, arguments.device)
    folder = subject.folder(arguments.out)
    if subject.config.n_layers < 2:
        raise InputError(f"composition needs two layers of heads, {subject.path} has {subject.config.n_layers}")
    weights = weights_of(subject.model).to(device="cpu")
    offset = 1 if weights.rotary_base is not None and arguments.offset is None else arguments.offset
    pairs = pairs_of(subject.heads)
    found = measure(weights, pairs, torch.Generator().manual_seed(arguments.seed), offset)
    values = {
        "model": subject.to_dict(),
        "offset": offset,
        "folded": weights.folded,
        "heads": subject.heads,
        **found.to_dict(pairs),
    }
    return deliver(arguments, folder, values, report(subject, found, pairs), drawings(subject, found))


def pairs_of(heads: tuple[Head, ...]) -> list[tuple[Head, Head]]:
    """Every earlier head with every later one."""
    return [(early, late) for early, late in product(heads, repeat=2) if early.layer < late.layer]


def measure(
    w: TransformerWeights, pairs: list[tuple[Head, Head]], generator: torch.Generator, offset: int | None
) -> Found:
    """Everything, each with its nulls from one generator in turn."""
    edges = compositions(w, generator, DRAWS, offset, KINDS)
    fewer = min(DRAWS, max(19, EIGENVALUES // max(1, len(pairs))))
    terms = {kind: term_scores(w, kind, generator, fewer, offset) for kind in KINDS}
    overlaps = {kind: projection_kernel(w, kind, generator, DRAWS, offset) for kind in KINDS}
    return Found(
        edges,
        terms,
        pointer(w, pairs, generator, fewer),
        overlaps,
        [(e, pieces(w, e, generator, offset)) for e in edges.above()[:PIECES]],
        offset,
        {} if w.rotary_base is None else {k: composition_by_offset(w, k, range(w.n_ctx)) for k in KINDS if k != "V"},
    )


def pieces(w: TransformerWeights, edge: Edge, generator: torch.Generator, offset: int | None) -> Pieces:
    """Rank-1 pieces of an edge."""
    return composition_pieces(w, edge.earlier, edge.later, edge.kind, generator, DRAWS, offset)


def pointer(
    w: TransformerWeights, pairs: list[tuple[Head, Head]], generator: torch.Generator, draws: int
) -> Scored | None:
    """Does a query that holds position p match p + 1?"""
    if w.W_pos is None or w.n_ctx < 3:
        return None
    each = [token_table(w, early, late, "Q", "position", "position") for early, late in pairs]
    tables = Factored(torch.stack([table.A for table in each]), torch.stack([table.B for table in each]))
    return diagonal_scores(tables, generator, draws, shift=1).top1


def drawings(subject: Subject, found: Found) -> dict[str, bytes | str]:
    """Graph and matrices as PNGs."""
    kinds, title = found.edges.kinds, f"Composition of {subject.name}"
    baseline = kinds["K"].baseline
    graph = effect_graph(
        {kind: each.share for kind, each in kinds.items()},
        found.edges.q_above,
        title=title,
        level=LEVEL,
        protocol="Null: a random rotation between the two matrices; q: Benjamini and Yekutieli over all edges.",
    )
    matrices = composition_matrices(
        {kind: each.score for kind, each in kinds.items()},
        baseline,
        title=title,
        q_values=found.edges.q_above,
        level=LEVEL,
        protocol=f"Baseline: 1/√d_model = {baseline:.3f}, the root mean square of matrices turned at random. Framed: "
        f"more than that at q ≤ {LEVEL:g}.",
    )
    return {"composition.png": png(graph), "composition-matrices.png": png(matrices)}
