"""What a method says of every edge, whatever the method."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.edges.graph import Edge, Graph
from interp.edges.problem import EdgeProblem
from interp.errors import InputError
from interp.stats import Estimates, bootstrap_intervals


@dataclass(frozen=True, eq=False)
class EdgeScores:
    """A score for each edge; `scores["L0H0 -> L1H0.K"]`. Most methods estimate what shutting the edge costs.

    Positive: the model is worse without the edge. Scores that are no costs (`unit` says so) only rank.
    """

    method: str
    graph: Graph
    value: Float[Tensor, " edge"]
    unit: str
    text: str
    """How it was computed, the ablation included."""
    runs: int
    """Passes through the model that it took, backward ones counted like forward ones."""
    samples: Float[Tensor, "batch edge"] | None = None
    """The same for each sequence, where the method has that."""

    def __getitem__(self, edge: Edge | str) -> float:
        return float(self.value[self.graph.find(edge)])

    def ranking(self, absolute: bool = True) -> Int[Tensor, " edge"]:
        """Places of the edges, best first; equal scores in the graph's order.

        By size (`absolute`): an edge that the model is better without is part of how it works too.
        """
        return (self.value.abs() if absolute else self.value).argsort(descending=True, stable=True)

    def above(self, threshold: float, absolute: bool = True) -> Bool[Tensor, " edge"]:
        """Which edges score at least the threshold."""
        return (self.value.abs() if absolute else self.value) >= threshold

    def intervals(self, generator: torch.Generator, level: float = 0.95) -> Estimates:
        """Bootstrap intervals over sequences; `InputError` for a method that has one number for all of them."""
        if self.samples is None:
            raise InputError(f"{self.method} gives no score for each sequence, so there is no interval over them")
        return bootstrap_intervals(self.samples, generator, level)

    def to_dict(self) -> dict[str, Any]:
        scores = {str(edge): value for edge, value in zip(self.graph.edges, self.value.tolist(), strict=True)}
        return {"method": self.method, "unit": self.unit, "protocol": self.text, "runs": self.runs, "scores": scores}


def scores_from(
    problem: EdgeProblem,
    method: str,
    values: Float[Tensor, "*batch edge"],
    said: str,
    *,
    runs: int,
    unit: str,
) -> EdgeScores:
    """Scores on the CPU in float64, averaged over sequences where there is a row for each."""
    values = values.detach().cpu().double()
    samples = values if values.ndim == 2 else None
    mean = values.mean(0) if samples is not None else values
    return EdgeScores(method, problem.graph, mean, unit, f"{said}; {problem.text}", runs, samples)
