"""Faithfulness by circuit size: what the best n edges carry, for every n, and two areas that sum it up."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.edges.faithfulness import gap_of, percentiles, resamples
from interp.edges.problem import EdgeProblem
from interp.edges.scores import EdgeScores
from interp.edges.search import prune
from interp.errors import InputError
from interp.stats import Estimate, Estimates

MIB_SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Shares of the edges at which Mueller et al. 2025 (arXiv:2504.13151) measure."""
EVERY_SIZE = 1000
"""Graphs with fewer edges than this are measured at every size."""


@dataclass(frozen=True, eq=False)
class Curve:
    """f of the best n edges by size n (pruned), and two areas over the share n / N of all N edges."""

    sizes: Int[Tensor, " size"]
    left: Int[Tensor, " size"]
    """How many of the edges are left after pruning."""
    faithfulness: Estimates
    cpr: Estimate
    """Circuit performance ratio: area under f, by trapezoids; higher is better."""
    cmd: Estimate
    """Circuit-model distance: area under |1 - f|; lower is better."""
    absolute: bool
    text: str

    def smallest(self, faithfulness: float) -> int | None:
        """The smallest measured size whose f is at least this; None if there is none."""
        enough = (self.faithfulness.mean >= faithfulness).nonzero()
        return int(self.sizes[enough[0, 0]]) if len(enough) else None

    def to_dict(self) -> dict[str, Any]:
        return {
            "sizes": self.sizes.tolist(),
            "edges_left": self.left.tolist(),
            "faithfulness": self.faithfulness.to_dict(),
            "CPR": self.cpr.to_dict(),
            "CMD": self.cmd.to_dict(),
            "ranked_by": "size of the score" if self.absolute else "score",
            "protocol": self.text,
        }


def faithfulness_curve(
    problem: EdgeProblem,
    scores: EdgeScores,
    generator: torch.Generator,
    *,
    sizes: Sequence[int] | None = None,
    absolute: bool = True,
    level: float = 0.95,
) -> Curve:
    """f of circuits of the best n edges: every n on graphs of fewer than 1,000 edges, else MIB's shares and 0.

    Intervals are bootstrapped over sequences, the ranking held.
    Raises `InputError` for sizes that do not ascend from 0 to all edges, and where there is nothing to explain.
    """
    gap, total = gap_of(problem, generator, level), len(problem.graph.edges)
    chosen = torch.tensor(default_sizes(total) if sizes is None else list(sizes))
    if chosen[0] != 0 or chosen[-1] != total or bool((chosen.diff() <= 0).any()):
        raise InputError(f"sizes must ascend from 0 to all {total} edges, got {chosen.tolist()}")
    order = scores.ranking(absolute)
    costs: list[Tensor] = []
    left: list[int] = []
    for size in chosen.tolist():
        keep = torch.zeros(total, dtype=torch.bool)
        keep[order[:size]] = True
        circuit = prune(problem.graph, keep)
        same = bool(left) and len(circuit) == left[-1]  # pruned circuits only grow
        costs.append(costs[-1] if same else problem.circuit_costs(circuit.keep))
        left.append(len(circuit))
    each, share = torch.stack(costs), chosen.double() / total
    draws = gap.shares(each, resamples(len(problem.tokens), generator))
    mean = gap.share(each)
    return Curve(
        chosen,
        torch.tensor(left),
        percentiles(mean, draws, len(problem.tokens), level),
        percentiles(area(mean, share), area(draws, share), len(problem.tokens), level)[()],
        percentiles(area((1 - mean).abs(), share), area((1 - draws).abs(), share), len(problem.tokens), level)[()],
        absolute,
        f"edges ranked by {scores.method}, areas over the share of edges; {problem.text}",
    )


def default_sizes(total: int) -> list[int]:
    """Every size below 1,000 edges, else MIB's shares of them."""
    if total < EVERY_SIZE:
        return list(range(total + 1))
    return sorted({0, *(max(1, round(share * total)) for share in MIB_SHARES)})


def area(f: Float[Tensor, "*rest size"], share: Float[Tensor, " size"]) -> Float[Tensor, "*rest"]:
    """The integral over the share of edges, by trapezoids."""
    return torch.trapezoid(f, share, dim=-1)
