"""How well scores find edges that are known to be there, as in a model whose weights were set by hand."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.edges.graph import Edge
from interp.edges.scores import EdgeScores
from interp.errors import InputError

ROUNDING = 1e-12
"""Scores below this share of the largest count as 0: their order is that of rounding errors."""


@dataclass(frozen=True, eq=False)
class Recovery:
    """True edges among all edges ranked by score; equal scores come together, so that no order is invented."""

    auroc: float
    """P(a true edge scores higher than a false one), ties counting half; 0.5 by chance."""
    average_precision: float
    """Sum of precision times the recall gained, from the highest threshold down; by chance the share of true edges."""
    threshold: Float[Tensor, " step"]
    """Each different score, from the highest down: edges that score at least this are taken."""
    precision: Float[Tensor, " step"]
    recall: Float[Tensor, " step"]
    n_true: int
    n: int

    def to_dict(self) -> dict[str, Any]:
        lists = {name: getattr(self, name).tolist() for name in ("threshold", "precision", "recall")}
        return {
            "auroc": {"value": self.auroc, "by chance": 0.5},
            "average_precision": {"value": self.average_precision, "by chance": self.n_true / self.n},
            **lists,
            "true_edges": self.n_true,
            "edges": self.n,
        }


def recovery(scores: EdgeScores, true_edges: Iterable[Edge | str], absolute: bool = True) -> Recovery:
    """AUROC, precision and recall of scores against the true edges, by the size of the score or by the score itself.

    Raises `InputError` for a true edge that the graph does not have, and where all edges or none are true.
    """
    value = scores.value.abs() if absolute else scores.value
    value = torch.where(value.abs() < ROUNDING * value.abs().max(), 0.0, value)
    true = torch.zeros(len(value), dtype=torch.bool)
    for edge in true_edges:
        true[scores.graph.find(edge)] = True
    n_true, n = int(true.sum()), len(true)
    if n_true in (0, n):
        raise InputError(f"true and false edges are both needed to tell them apart, got {n_true} true of {n}")
    threshold = value.unique().flip(0)
    taken = value >= threshold[:, None]
    hits = (taken & true).sum(1).double()
    precision, recall = hits / taken.sum(1), hits / n_true
    gained = recall.diff(prepend=torch.zeros(1, dtype=torch.float64))
    average = float((precision * gained).sum())
    return Recovery(auroc(value, true), average, threshold, precision, recall, n_true, n)


def auroc(value: Float[Tensor, " n"], true: Bool[Tensor, " n"]) -> float:
    """The share of pairs of a true and a false one in which the true one is higher, ties counting half."""
    above, below = value[true][:, None], value[~true][None]
    return float(((above > below).double() + (above == below).double() / 2).mean())
