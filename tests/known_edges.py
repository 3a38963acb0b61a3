"""Handmade models as problems whose right answer is known: which edges there are, and tokens that need them."""

import torch

from interp.edges import Edge, EdgeProblem, edge_problem
from interp.heads.stimuli import random_tokens
from interp.weights import weights_of
from toy_models import handmade
from toy_models.handmade import Truth
from toy_models.handmade.truth import spell

MODELS = ("induction_k", "induction_q", "induction_both", "induction_shared", "induction_smeared", "two_back")


def true_edges(truth: Truth) -> frozenset[Edge]:
    """The edges of a handmade model, as `interp` names them."""
    return frozenset(
        Edge(spell(e.source), spell(e.target) if e.channel == "logits" else f"{spell(e.target)}.{e.channel}")
        for e in truth.edges
    )


def make(name, **options):
    """A small one: 31 tokens besides the first, so that sequences without any repetition can be had."""
    return handmade.make(name, d_vocab=32, n_ctx=22, **options)


def problem_of(made: handmade.Handmade, ablation="zero", metric="loss") -> EdgeProblem:
    """On tokens that the model predicts: its own example, or, for two_back, blocks of three tokens."""
    tokens, answers = made.example_tokens, made.answers
    if made.truth.name == "two_back":
        tokens = torch.cat([tokens[:, :1], tokens[:, 1:4].repeat(1, 6)], dim=1)
        scored = (torch.arange(tokens.shape[1]) > 3).expand_as(tokens).clone()
    else:
        scored = torch.zeros_like(tokens, dtype=torch.bool)
        scored[:, 1:] = answers[:, :-1] >= 0
    generator = torch.Generator().manual_seed(5)
    fresh = random_tokens(len(tokens), tokens.shape[1] - 1, torch.arange(1, 32), generator)
    corrupted = torch.cat([tokens[:, :1], fresh], dim=1)
    weights = weights_of(made.model, fold=False)
    return edge_problem(weights, tokens, scored, metric=metric, ablation=ablation, corrupted=corrupted)
