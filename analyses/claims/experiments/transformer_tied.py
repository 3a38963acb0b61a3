"""Tied embeddings: symmetric logits, bigrams that need not be, and chains that go round, which they cannot give."""

import math

import torch

from analyses.bigram_cases import Case, cycle_case, divergence, pair_case
from analyses.claims.claim import Arm, Claim, Row
from analyses.claims.experiments.identities import exact
from analyses.claims.experiments.transformer_models import random_transformer
from analyses.claims.experiments.transformer_stream import FRAMEWORK
from analyses.tied_embeddings import fit
from interp.circuits import Factored, asymmetry
from interp.weights import weights_of

TOLERANCE = 1e-6
STARTS = 2


def logit_tables(seed: int, device: str, budget: float) -> Row:
    """||B - B^T|| / ||B|| of the direct path, and of its bigrams, with tied embeddings and without."""
    row: Row = {}
    for name, tied in (("tied", True), ("untied", False)):
        w = weights_of(random_transformer(seed, device, n_layers=0, tied_embeddings=tied))
        row[name] = float(asymmetry(Factored(w.W_E, w.W_U)))
        bigrams = (w.W_E @ w.W_U).softmax(-1)
        row[f"{name} bigrams"] = float(asymmetry(Factored(bigrams, torch.eye(w.d_vocab).to(bigrams))))
    return row


def best_fits(seed: int, device: str, budget: float) -> Row:
    """KL of the best tied and untied bigrams of a reversible chain (Barack -> Obama) and of A -> B -> C -> A."""
    generator = torch.Generator().manual_seed(seed)
    row: Row = {}
    for name, case in (("pair", pair_case()), ("cycle", cycle_case())):
        row[f"{name}, tied"] = abs(best(case, "tied", generator))
        row[f"{name}, untied"] = abs(best(case, "untied", generator))
        even = torch.full_like(case.wanted, -math.log(len(case.tokens)))
        row[f"{name}, even"] = float(divergence(case.wanted, even))
    theory = cycle_case().theory["tied"]
    assert theory is not None
    row["cycle, less theory"] = abs(float(row["cycle, tied"]) - theory)  # type: ignore[arg-type]
    equal = best(pair_case(), "tied, equal lengths", generator)
    return row | {"pair, equal lengths": equal, "cycle, untied less theory": abs(theory)}


def best(case: Case, kind: str, generator: torch.Generator) -> float:
    return fit(case, kind, generator, STARTS).divergence


CLAIMS = (
    Claim(
        name="transformer-tied-embeddings-are-symmetric",
        numbers=(81,),
        statement="Tied embeddings make W_E W_U symmetric, so that the direct path cannot be every bigram table: not "
        "that of a chain that goes round, though that of a reversible one.",
        source=FRAMEWORK,
        arms={"random": Arm(logit_tables), "fitted": Arm(best_fits)},
        comparisons=(
            exact("logits of the direct path", "asymmetry of W_E W_U", "random", "tied", TOLERANCE, wrong="untied"),
            exact("a reversible chain, which tied embeddings can give", "KL of the best tied fit, nats", "fitted",
                  "pair, tied", TOLERANCE, wrong="pair, equal lengths"),
            exact("a chain that goes round, which only untied ones can give", "KL of the best untied fit, nats",
                  "fitted", "cycle, untied", TOLERANCE, wrong="cycle, tied"),
            exact("its best tied fit is to guess", "|KL of the best tied fit - that of even guesses|", "fitted",
                  "cycle, less theory", TOLERANCE, wrong="cycle, untied less theory"),
        ),
        why="Untied embeddings of the same size; and for the reversible chain tied ones of equal lengths, which cannot "
        "give it: it is the lengths that make it possible.",
        slip="The notes have it that no bigram table can be had. Yet symmetric logits are not symmetric bigrams, for "
        "the softmax normalises each row: Barack -> Obama can be had from tied embeddings, at the price that Obama "
        "predicts itself. Out of reach are chains that go round.",
        trained=False,
    ),
)  # fmt: skip
