"""`interp composition`: which later head can read which earlier one, by the weights."""

from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor

from analyses.arguments import Composition
from analyses.loading import Subject, load_subject
from analyses.output import deliver, png
from analyses.tables import interval, number, paragraph, table
from interp.circuits import Source
from interp.composition import Composition as Scores
from interp.composition import Kind, composition
from interp.diagonal import diagonal_scores
from interp.factored import Factored
from interp.names import Head
from interp.plots import composition_graph, composition_matrices
from interp.scored import Scored
from interp.token_composition import token_table
from interp.transformer_weights import TransformerWeights
from interp.weights import weights_of
from toy_models.errors import InputError

KINDS: tuple[Kind, ...] = ("K", "Q", "V")
MOST_ROWS = 40
DRAWS = 200


@dataclass(frozen=True)
class InTokens:
    """What the tables of all pairs say of tokens, `[pair]`: K and V their diagonal, Q the entry one position on."""

    pairs: tuple[tuple[Head, Head], ...]
    K: Scored
    Q: Scored | None
    """None where an earlier head cannot carry positions."""
    V: Scored

    def kinds(self) -> dict[str, Scored | None]:
        return {"K": self.K, "Q": self.Q, "V": self.V}

    def to_dict(self) -> dict[str, Any]:
        scores = {kind: None if scored is None else scored.to_dict() for kind, scored in self.kinds().items()}
        return {"pairs": [f"{early}->{late}" for early, late in self.pairs], **scores}


def run(arguments: Composition) -> int:
    """Scores of all pairs of heads in the residual stream and in token space."""
    subject = load_subject(arguments.model, arguments.device)
    folder = subject.folder(arguments.out)
    if subject.config.n_layers < 2:
        raise InputError(f"composition needs two layers of heads, {subject.path} has {subject.config.n_layers}")
    weights = weights_of(subject.model).to(device="cpu")
    offset = 1 if weights.rotary_base is not None and arguments.offset is None else arguments.offset
    generator = torch.Generator().manual_seed(arguments.seed)
    scores = {kind: composition(weights, kind, generator, DRAWS, offsets=offset) for kind in KINDS}
    in_tokens = token_terms(weights, subject.heads, generator, offset)
    values = {
        "model": subject.to_dict(),
        "offset": offset,
        "folded": weights.folded,
        "heads": subject.heads,
        "residual_stream": {kind: each.to_dict() for kind, each in scores.items()},
        "token_space": in_tokens.to_dict(),
    }
    text = report(subject, scores, in_tokens, offset)
    return deliver(arguments, folder, values, text, drawings(subject, scores))


def token_terms(
    w: TransformerWeights, heads: tuple[Head, ...], generator: torch.Generator, offset: int | None
) -> InTokens:
    """The three terms of every pair of an earlier and a later head."""
    pairs = tuple((early, late) for early, late in product(heads, repeat=2) if early.layer < late.layer)

    def tables(kind: Kind, source: Source = "token") -> Factored:
        each = [token_table(w, early, late, kind, source, source, offset) for early, late in pairs]
        return Factored(torch.stack([table.A for table in each]), torch.stack([table.B for table in each]))

    pointer = None
    if w.W_pos is not None and w.n_ctx > 2:
        pointer = diagonal_scores(tables("Q", "position"), generator, DRAWS, shift=1).top1
    return InTokens(
        pairs,
        K=diagonal_scores(tables("K"), generator, DRAWS).eigenvalue,
        Q=pointer,
        V=diagonal_scores(tables("V"), generator, DRAWS).eigenvalue,
    )


def drawings(subject: Subject, scores: dict[Kind, Scores]) -> dict[str, bytes | str]:
    """Graph and matrices as PNGs."""
    values: dict[str, Tensor] = {kind: each.score for kind, each in scores.items()}
    beyond: dict[str, Tensor] = {kind: each.rotated.null_quantile(0.99) for kind, each in scores.items()}
    baseline, title = scores["K"].baseline, f"Composition of {subject.name}"
    graph = composition_graph(
        values,
        beyond,
        title=title,
        protocol="Baseline: the 99 % quantile of the same with a random rotation between the two matrices; one pair in "
        "a hundred exceeds it by chance.",
    )
    matrices = composition_matrices(
        values,
        baseline,
        title=title,
        protocol=f"Baseline: 1/√d_model = {baseline:.3f}, the root mean square of matrices turned at random.",
    )
    return {"composition.png": png(graph), "composition-matrices.png": png(matrices)}


def report(subject: Subject, scores: dict[Kind, Scores], in_tokens: InTokens, offset: int | None) -> str:
    """Both tables, with what they mean."""
    pairs = sorted(sorted(in_tokens.pairs, key=lambda pair: -strongest(scores, pair))[:MOST_ROWS])
    baseline, warning = scores["K"].baseline, scores["K"].warning
    rotary = "" if offset is None else f" Query and key are {offset} apart."
    parts = [
        paragraph(subject.describe()),
        paragraph(
            "Composition of the matrices in the residual stream (Elhage et al. 2021), and the middle 95 % of the same "
            f"with a random rotation between the two matrices; the root mean square of these is {number(baseline)} = "
            f"1/sqrt(d_model). Weights only: what a head could read, not what it reads on tokens.{rotary}"
        ),
        *([] if warning is None else [paragraph(f"Mind: {warning}.")]),
        residual_table(pairs, scores),
        paragraph(
            "The same pairs in token space, which no basis changes, and the middle 95 % with columns relabelled at "
            "random. K: a key holding a token that the earlier head moved there is matched by that same token as "
            "query (1: by it alone). Q: share of positions p for which a query holding p matches p + 1 best. V: what "
            "both heads moved is raised itself."
        ),
        in_tokens_table(pairs, in_tokens),
    ]
    if len(pairs) < len(in_tokens.pairs):
        parts.append(f"The {len(pairs)} strongest of {len(in_tokens.pairs)} pairs; composition.json has them all.")
    return "\n\n".join(parts)


def strongest(scores: dict[Kind, Scores], pair: tuple[Head, Head]) -> float:
    """The pair's highest score of any kind."""
    return max(float(each.score[(*pair[0], *pair[1])]) for each in scores.values())


def residual_table(pairs: list[tuple[Head, Head]], scores: dict[Kind, Scores]) -> str:
    """Scores and nulls in the residual stream."""
    bounds = {kind: (s.rotated.null_quantile(0.025), s.rotated.null_quantile(0.975)) for kind, s in scores.items()}
    rows = []
    for early, late in pairs:
        at, row = (*early, *late), [f"{early} → {late}"]
        for kind, (low, high) in bounds.items():
            row += [number(float(scores[kind].score[at])), interval(float(low[at]), float(high[at]), 2)]
        rows.append(row)
    header = ["pair", *(cell for kind in scores for cell in (f"{kind}-comp", "null"))]
    return table(header, rows, "lrlrlrl")


def in_tokens_table(pairs: list[tuple[Head, Head]], in_tokens: InTokens) -> str:
    """Scores and nulls in token space."""
    found = {kind: None if s is None else summary(s) for kind, s in in_tokens.kinds().items()}
    rows = []
    for early, late in pairs:
        at, row = in_tokens.pairs.index((early, late)), [f"{early} → {late}"]
        for each in found.values():
            row += ["n/a", ""] if each is None else [number(each[0][at]), interval(each[1][at], each[2][at], 2)]
        rows.append(row)
    return table(["pair", "K tokens", "null", "Q pointer", "null", "V tokens", "null"], rows, "lrlrlrl")


def summary(scored: Scored) -> tuple[list[float], list[float], list[float]]:
    """Values and the middle 95 % of their nulls."""
    return scored.value.tolist(), scored.null_quantile(0.025).tolist(), scored.null_quantile(0.975).tolist()
