"""`python -m analyses.tied_embeddings`: which bigrams can a model give whose unembedding is its embedding, transposed?

The no-op model, without layers, has the logits W_E W_U. Tied, W_U = W_E^T, they are symmetric. Its bigrams need not
be, for the softmax normalises each row:

    log P(y|x) = S_xy - c_x,    S = W_E W_E^T,    c_x = ln sum_y e^(S_xy)

Two things remain of the symmetry. Around every cycle `cycle_statistic` is 0 (Kolmogorov's criterion: such bigrams are
a reversible Markov chain, with stationary weights e^(c_x)), which no choice of S evades. And S is a table of inner
products: where x prefers y to itself by m = ln P(y|x) / P(x|x) > 0, y is the longer vector, and prefers itself to x by
at least m + m^2 / |x|^2. So the most likely next tokens of a tied model never go round: each is longer than the one
before it, up to one that predicts itself.

"Barack" is therefore followed by "Obama" only if Obama's vector is the longer one and Obama is mostly followed by
itself. A cycle A -> B -> C -> A, which untied embeddings fit exactly, is out of reach: the best tied model of it is
the uniform one.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from analyses.bigram_cases import Bigrams, Case, cycle_case, divergence, onward_case, pair_case
from analyses.output import plain, strict_json, write_files
from analyses.tables import number, paragraph, table
from interp.errors import InputError
from toy_models.config import TransformerConfig
from toy_models.transformer import Transformer

ITERATIONS = 2000


def cycle_statistic(log_probs: Bigrams, cycle: Sequence[int]) -> float:
    """How much likelier a cycle of tokens is in its own direction than in the other, in nats.

        sum_i ln P(x_(i+1) | x_i) - sum_i ln P(x_i | x_(i+1)),    x_n = x_0

    For three tokens ln[P(b|a) P(c|b) P(a|c) / (P(c|a) P(b|c) P(a|b))]. 0 for every cycle if and only if the logits can
    be written as a symmetric table (Kolmogorov's criterion of reversibility); what a row's softmax subtracts cancels,
    so logits do as well as log-probabilities.
    Raises `InputError` for fewer than three tokens (two always give 0), repeated ones, or ones outside the table.
    """
    n = len(log_probs)
    if len(cycle) < 3 or len(set(cycle)) < len(cycle) or not all(0 <= token < n for token in cycle):
        raise InputError(f"a cycle needs at least 3 different tokens from 0 to {n - 1}, got {list(cycle)}")
    here, there = torch.tensor(cycle), torch.tensor(cycle).roll(-1)
    return float((log_probs[here, there] - log_probs[there, here]).double().sum())


def no_op_bigrams(W_E: Float[Tensor, "token d"], W_U: Float[Tensor, "d token"] | None = None) -> Bigrams:
    """log P(next | token) of a transformer without layers that holds these embeddings; tied without W_U."""
    n, d = W_E.shape
    config = TransformerConfig(
        n_layers=0, d_model=d, d_vocab=n, n_ctx=1, positions="none", normalization="none", tied_embeddings=W_U is None
    )
    model = Transformer(config, torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        model.embed.W_E.copy_(W_E)
        if model.unembed.W_U is not None and W_U is not None:
            model.unembed.W_U.copy_(W_U)
        return model(torch.arange(n)[:, None])[:, 0].log_softmax(-1)


@dataclass(frozen=True)
class Fit:
    """A model of one kind, and what it makes of a case.

    `theory` is the divergence that it should have, if that is known; `lengths` are those of tied embeddings; `spread`
    is the largest divergence of all starts minus the smallest, `residual` how far the best is from being an optimum
    (see `optimality`).
    """

    case: str
    tokens: tuple[str, ...]
    kind: str
    divergence: float
    theory: float | None
    cycle_statistic: float | None
    log_probs: Bigrams
    lengths: Float[Tensor, " token"] | None
    spread: float
    residual: float | None


def equal_lengths(theta: Float[Tensor, "token d"]) -> Float[Tensor, "token d"]:
    """Rows of the same directions, all of the root mean square length."""
    return theta / theta.norm(dim=-1, keepdim=True) * theta.square().sum(-1).mean().sqrt()


TABLES: dict[str, Callable[[Tensor], Tensor]] = {
    "symmetric": lambda theta: (theta + theta.T) / 2,
    "tied": lambda theta: theta @ theta.T,
    "tied, equal lengths": lambda theta: equal_lengths(theta) @ equal_lengths(theta).T,
}


def fit(case: Case, kind: str, generator: torch.Generator, starts: int = 5) -> Fit:
    """The best model of a kind, by L-BFGS in float64 from several random starts.

    "untied" (W_E = 1, W_U = log P) and "tied, by hand" are not searched for, but made.
    """
    identity = torch.eye(len(case.tokens), dtype=torch.float64)
    if kind == "untied":
        return measured(case, kind, None, no_op_bigrams(identity, case.wanted.log()))
    if kind == "tied, by hand":
        assert case.by_hand is not None
        return measured(case, kind, case.by_hand, no_op_bigrams(case.by_hand))
    to_table = TABLES[kind]
    found = [descend(case.wanted, to_table, generator) for _ in range(starts)]
    values = [float(divergence(case.wanted, to_table(theta).log_softmax(-1))) for theta in found]
    theta, spread = found[values.index(min(values))], max(values) - min(values)
    residual = None if kind == "tied, equal lengths" else optimality(case.wanted, to_table(theta), kind)
    if kind == "symmetric":
        return measured(case, kind, None, no_op_bigrams(identity, to_table(theta)), spread, residual)
    embedding = equal_lengths(theta) if kind == "tied, equal lengths" else theta
    return measured(case, kind, embedding, no_op_bigrams(embedding), spread, residual)


def measured(
    case: Case,
    kind: str,
    embedding: Float[Tensor, "token d"] | None,
    log_probs: Bigrams,
    spread: float = 0.0,
    residual: float | None = None,
) -> Fit:
    """The numbers of a model, from its log-probabilities."""
    return Fit(
        case.name,
        case.tokens,
        kind,
        divergence=float(divergence(case.wanted, log_probs)),
        theory=case.theory[kind],
        cycle_statistic=None if case.cycle is None else cycle_statistic(log_probs, case.cycle),
        log_probs=log_probs,
        lengths=None if embedding is None else embedding.norm(dim=-1),
        spread=spread,
        residual=residual,
    )


def descend(wanted: Bigrams, to_table: Callable[[Tensor], Tensor], generator: torch.Generator) -> Bigrams:
    """Parameters at which the divergence has stopped falling."""
    theta = torch.randn(wanted.shape, generator=generator, dtype=torch.float64).requires_grad_()
    optimizer = torch.optim.LBFGS(
        [theta],
        max_iter=ITERATIONS,
        tolerance_grad=1e-13,
        tolerance_change=0.0,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = divergence(wanted, to_table(theta).log_softmax(-1))
        loss.backward()
        return loss

    optimizer.step(closure)
    return theta.detach()


def optimality(wanted: Bigrams, S: Bigrams, kind: str) -> float:
    """By how much S misses the conditions under which it is the best of its kind; 0 proves it, the problem is convex.

    With G the symmetric part of the divergence's gradient in S, G = 0 for any symmetric table; for inner products G has
    no negative eigenvalue and <G, S> = 0.
    """
    gradient = (S.softmax(-1) - wanted) / len(S)
    G = (gradient + gradient.T) / 2
    if kind == "symmetric":
        return float(G.abs().max())
    return max(-float(torch.linalg.eigvalsh(G).min()), abs(float((G * S).sum())))


def study(seed: int = 0, starts: int = 5, smoothing: float = 0.1) -> list[Fit]:
    """Every kind of model on every case."""
    generator = torch.Generator().manual_seed(seed)
    cases = [pair_case(), cycle_case(smoothing), onward_case(smoothing)]
    return [fit(case, kind, generator, starts) for case in cases for kind in case.theory]


def report(fits: Sequence[Fit]) -> str:
    """The divergences beside what they should be, the cycle statistic, and the probabilities."""
    header = ["case", "model", "KL", "theory", "cycle", "lengths", "spread", "residual"]
    rows = [
        [
            f.case,
            f.kind,
            number(f.divergence, 6),
            number(f.theory, 6),
            number(f.cycle_statistic, 6),
            "" if f.lengths is None else " ".join(number(length, 3) for length in f.lengths.tolist()),
            f"{f.spread:.0e}",
            "" if f.residual is None else f"{f.residual:.0e}",
        ]
        for f in fits
    ]
    notes = [
        "KL: of the model from the bigrams asked for, mean over present tokens, nats. theory: what it should be, for "
        "the last in the limit of long vectors. cycle: ln[P(ab) P(bc) P(ca) / (P(ac) P(cb) P(ba))] of the first three "
        "tokens, 0 for any symmetric table. spread: of KL over the starts. residual: distance from an optimum.",
        "untied: any logits. symmetric: any symmetric logits. tied: W_U = W_E transposed.",
    ]
    found = [f"{f.case}, tied: next-token probabilities\n{probabilities(f)}" for f in fits if f.kind == "tied"]
    return "\n\n".join([table(header, rows, "llrrrlrr"), *map(paragraph, notes), *found])


def probabilities(fit: Fit) -> str:
    """P(next | token), a row for each present token."""
    values = fit.log_probs.exp().tolist()
    rows = [[token, *(number(p, 4) for p in row)] for token, row in zip(fit.tokens, values, strict=True)]
    return table(["after", *fit.tokens], rows, "l" + "r" * len(fit.tokens))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--seed", type=int, default=0, help="of the starts (default 0)")
    options.add_argument("--starts", type=int, default=5, help="random starts of each fit (default 5)")
    options.add_argument("--smoothing", type=float, default=0.1, help="probability off the cycle (default 0.1)")
    options.add_argument("--out", type=Path, default=Path("runs/tied_embeddings"), help="folder of the JSON")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    fits = study(chosen.seed, chosen.starts, chosen.smoothing)
    settings = {"seed": chosen.seed, "starts": chosen.starts, "smoothing": chosen.smoothing}
    write_files(chosen.out, {"tied_embeddings.json": strict_json({**settings, "fits": [plain(f) for f in fits]})})
    print(f"{report(fits)}\n\nwrote {chosen.out / 'tied_embeddings.json'}")


if __name__ == "__main__":
    main()
