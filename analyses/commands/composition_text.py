"""What `interp composition` prints: the edges that differ from their null, then the same edges read in other ways."""

from analyses.commands.composition_found import Found
from analyses.loading import Subject
from analyses.tables import interval, number, paragraph, table
from interp.composition import Compositions
from interp.composition.edges import LEVEL, Edge
from interp.names import Head
from interp.stats import Scored

MOST_ROWS = 20
INTRODUCTION = (
    "Composition of the matrices in the residual stream (Elhage et al. 2021). Null: the middle 95 % of the same with a "
    "random rotation between the two matrices; the root mean square of these is {baseline} = 1/sqrt(d_model). Bound: "
    "the largest score that some rotation gives. Share: 0 at that root mean square, 1 at the bound. p: of a score at "
    "least (above) or at most (below) as large under rotation; q: the same where all {tested} edges are looked at, "
    "pairs times kinds (Benjamini and Yekutieli, which allows for shared heads). Weights only: what a head could read, "
    "not what it reads on tokens.{rotary}"
)
OTHERWISE = (
    "The same edges read in other ways. Overlap: dimensions that the later head reads of those that the earlier one "
    "writes, beside mean and standard deviation for random spaces of the same ranks, and p above. Tokens: eigenvalue "
    "score of the term in token space over {rows}, 1 if it favours each row's own self in every direction; its nulls "
    "have columns relabelled (a change of basis moves neither), or the earlier head turned at random. Trace: by how "
    "much the own entry exceeds its row's mean, in attention scores (K, Q) or logits (V); its nulls are in "
    "composition.json."
)
PIECES = (
    "Rank-1 pieces of the strongest edges: which singular direction of the earlier head's OV, from 0, the later head's "
    "matrix reads in which of its own; the cosine between the two, the piece's share of the squared score, and the "
    "largest piece beside the middle 95 % of the largest under rotation."
)


def report(subject: Subject, found: Found, pairs: list[tuple[Head, Head]]) -> str:
    """All tables, with what they mean."""
    kinds = found.edges.kinds
    first, rows = kinds["K"], strongest(found.edges)
    rotary = "" if found.offset is None else f" Query and key are {found.offset} apart."
    introduction = INTRODUCTION.format(baseline=number(first.baseline), tested=found.edges.tested, rotary=rotary)
    tokens = "tokens and positions" if found.terms["K"].rows > found.terms["V"].rows else "tokens"
    parts = [
        paragraph(subject.describe()),
        paragraph(introduction),
        *([] if first.warning is None else [paragraph(f"Mind: {first.warning.replace('the K-term', 'the term')}.")]),
        paragraph(surviving(found.edges)),
        edge_table(rows, found.edges),
        paragraph(OTHERWISE.format(rows=tokens)),
        other_table(rows, found),
    ]
    if found.by_offset:
        parts += [paragraph("By distance from query to key, over all that the context holds:"), by_offset(rows, found)]
    if found.pointer is not None:
        parts.append(paragraph(pointers(found.pointer, pairs)))
    if found.pieces:
        parts += [paragraph(PIECES), piece_table(found)]
    left = sum(1 for _ in found.edges.edges()) - len(rows)
    if left:
        parts.append(f"The {len(rows)} edges of the highest share; {left} more are in composition.json.")
    return "\n\n".join(parts)


def strongest(edges: Compositions) -> list[Edge]:
    """The edges of the highest share, those that are not tested last."""
    return sorted(edges.edges(), key=lambda edge: -edge.share if edge.share == edge.share else 1e9)[:MOST_ROWS]


def surviving(edges: Compositions) -> str:
    """How many edges differ from their null, and which way."""
    above, below = edges.above(), edges.below()
    return (
        f"At q ≤ {LEVEL:g}, {len(above)} of {edges.tested} edges compose more than a random rotation explains"
        f"{by_kind(above)}, and {len(below)} less{by_kind(below)}."
    )


def by_kind(edges: list[Edge]) -> str:
    counts = {kind: sum(edge.kind == kind for edge in edges) for kind in ("K", "Q", "V")}
    text = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    return f" ({text})" if text else ""


def edge_table(rows: list[Edge], edges: Compositions) -> str:
    """Scores beside their nulls; an edge that survives is marked."""
    bounds = {
        kind: (each.rotated.null_quantile(0.025), each.rotated.null_quantile(0.975))
        for kind, each in edges.kinds.items()
    }
    lines = []
    for edge in rows:
        low, high = (float(bound[(*edge.earlier, *edge.later)]) for bound in bounds[edge.kind])
        mark = "+" if edge.q_above <= LEVEL else "−" if edge.q_below <= LEVEL else ""
        values = [number(edge.score), interval(low, high, 2), number(edge.bound), number(edge.share, 2)]
        chances = [probability(p) for p in (edge.p_above, edge.p_below, edge.q_above, edge.q_below)]
        lines.append([str(edge), mark, *values, *chances])
    header = ["edge", "", "score", "null", "bound", "share", "p above", "p below", "q above", "q below"]
    return table(header, lines, "llrlrrrrrr")


def other_table(rows: list[Edge], found: Found) -> str:
    """Overlap of spaces, and the terms in token space."""
    lines = []
    for edge in rows:
        at = (*edge.earlier, *edge.later)
        overlap, term = found.overlaps[edge.kind], found.terms[edge.kind]
        spaces = [
            f"{number(float(overlap.kernel[at]), 1)} of {int(overlap.largest[at])}",
            f"{number(float(overlap.mean[at]), 1)} ± {number(float(overlap.std[at]), 1)}",
            probability(float(overlap.p_above[at])),
        ]
        assert term.rotated_eigenvalue is not None
        tokens = [
            number(float(term.eigenvalue.value[at]), 2),
            middle(term.eigenvalue, at),
            middle(term.rotated_eigenvalue, at),
            number(float(term.trace.value[at]), 2),
        ]
        lines.append([str(edge), *spaces, *tokens])
    header = ["edge", "overlap", "random", "p", "tokens", "relabelled", "turned", "trace"]
    return table(header, lines, "lrrrrllr")


def by_offset(rows: list[Edge], found: Found) -> str:
    """Rotary positions: the score at the offset, its root mean square over all, and its range."""
    lines = []
    for edge in rows:
        if edge.kind not in found.by_offset:
            continue
        scores = found.by_offset[edge.kind][(slice(None), *edge.earlier, *edge.later)].double()
        mean = float(scores.square().mean().sqrt())
        lines.append([str(edge), number(edge.score), number(mean), interval(float(scores.min()), float(scores.max()))])
    return table(["edge", f"at {found.offset}", "root mean square", "lowest and highest"], lines, "lrrl")


def pointers(scored: Scored, pairs: list[tuple[Head, Head]]) -> str:
    """The pair that follows pointers best."""
    best = int(scored.value.argmax())
    low, high = (float(scored.null_quantile(q)[best]) for q in (0.025, 0.975))
    return (
        f"Pointers (Q, positions to positions): a query that {pairs[best][0]} filled with position p matches p + 1 "
        f"best at {pairs[best][1]} for {number(float(scored.value[best]), 2)} of the positions, the most of all pairs; "
        f"with columns relabelled {interval(low, high, 2)}."
    )


def piece_table(found: Found) -> str:
    """The two largest pieces of each edge."""
    lines = []
    for edge, pieces in found.pieces:
        low, high = (float(pieces.largest.null_quantile(q)) for q in (0.025, 0.975))
        for rank, piece in enumerate(pieces.top(2)):
            size = [number(piece.value), interval(low, high), probability(float(pieces.largest.p_values()))]
            size = size if rank == 0 else [number(piece.value), "", ""]
            name = str(edge) if rank == 0 else ""
            lines.append(
                [name, str(piece.write), str(piece.read), number(piece.cosine, 2), number(piece.share, 2), *size]
            )
    return table(["edge", "writes", "reads", "cosine", "share", "size", "largest, null", "p"], lines, "lrrrrrlr")


def middle(scored: Scored, at: tuple[int, ...]) -> str:
    """The middle 95 % of one null."""
    low, high = (float(scored.null_quantile(q)[at]) for q in (0.025, 0.975))
    return interval(low, high, 2)


def probability(p: float) -> str:
    """Three decimals, a power of ten where that would be 0."""
    if p != p:
        return "n/a"
    return number(p) if p >= 0.0005 else f"{p:.0e}"
