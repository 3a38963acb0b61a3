"""How much of what a model does a circuit does: with everything else ablated, and ablated itself.

With m the mean cost over sequences, M the model and {} no edge,

    f(C) = (m(C) - m({})) / (m(M) - m({})),     1 for the model, 0 for nothing (Mueller et al. 2025, arXiv:2504.13151)

All numbers depend on the ablation and on the metric, which every result names.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.edges.graph import Edge
from interp.edges.problem import METRICS, EdgeProblem
from interp.edges.search import Circuit, random_circuit
from interp.errors import InputError
from interp.stats import (
    Estimate,
    Estimates,
    Null,
    bootstrap_interval,
    bootstrap_intervals,
    monte_carlo_p_value,
    null_summary,
)

DRAWS = 2000


@dataclass(frozen=True, eq=False)
class Gap:
    """What there is to explain: costs of each sequence, intact and with every edge shut."""

    intact: Float[Tensor, " batch"]
    empty: Float[Tensor, " batch"]

    def share(self, costs: Float[Tensor, "*rest batch"]) -> Float[Tensor, "*rest"]:
        """f of circuits with these costs."""
        return (self.empty.mean() - costs.mean(-1)) / (self.empty - self.intact).mean()

    def shares(
        self, costs: Float[Tensor, "*rest batch"], counts: Float[Tensor, "draw batch"]
    ) -> Float[Tensor, "draw *rest"]:
        """f in resamples of the sequences."""
        gained = torch.einsum("db,...b->d...", counts, self.empty - costs)
        whole = counts @ (self.empty - self.intact)
        return gained / whole.reshape(-1, *[1] * (gained.ndim - 1))


def gap_of(problem: EdgeProblem, generator: torch.Generator, level: float = 0.95) -> Gap:
    """Both ends of f; `InputError` where shutting every edge does not clearly cost anything: f would divide by 0."""
    gap = Gap(problem.intact_costs(), problem.empty_costs())
    estimate = bootstrap_interval(gap.empty - gap.intact, generator, level)
    if not estimate.low > 0:
        raise InputError(
            f"shutting every edge costs {estimate} {METRICS[problem.metric]} ({problem.metric}): there is nothing "
            "for a circuit to carry; try another ablation, metric or model"
        )
    return gap


@dataclass(frozen=True, eq=False)
class Check:
    """A circuit run with everything else ablated, and everything that shows whether it is the one."""

    circuit: Circuit
    faithfulness: Estimate
    """f(C), near 1 if the circuit is enough."""
    complement: Estimate
    """f(M without C), near 0 if the circuit is complete: the other edges do nothing without it."""
    necessity: dict[Edge, Estimate]
    """f(C) - f(C without e) for each edge e: a circuit is minimal if none is near 0."""
    random: Null | None
    """f of random circuits of at least as many edges, all of them on paths; None where all circuits are the same."""
    p_value: float | None
    """(1 + random circuits with f at least as high) / (1 + random circuits)."""
    intact: Estimate
    empty: Estimate
    metric: str
    text: str

    @property
    def minimality(self) -> Estimate | None:
        """The least of what an edge of the circuit is worth; None without edges."""
        return min(self.necessity.values(), key=lambda estimate: estimate.mean, default=None)

    def spare(self, share: float = 0.01) -> tuple[Edge, ...]:
        """Edges whose interval does not lie above this share of the whole."""
        return tuple(edge for edge, estimate in self.necessity.items() if not estimate.low > share)

    def to_dict(self) -> dict[str, Any]:
        estimates = {name: getattr(self, name) for name in ("faithfulness", "complement", "minimality", "random")}
        return {
            "circuit": self.circuit.to_dict(),
            **{name: estimate and estimate.to_dict() for name, estimate in estimates.items()},
            "necessity": {str(edge): estimate.to_dict() for edge, estimate in self.necessity.items()},
            "p_value": self.p_value,
            f"intact {self.metric}": self.intact.to_dict(),
            f"ablated {self.metric}": self.empty.to_dict(),
            "protocol": self.text,
        }


def check_circuit(
    problem: EdgeProblem,
    circuit: Circuit,
    generator: torch.Generator,
    *,
    n_random: int = 50,
    level: float = 0.95,
) -> Check:
    """Faithfulness, completeness and minimality of a circuit, with random circuits as the control.

    Choose the circuit on other sequences than those of `problem`. Intervals are bootstrapped over sequences.
    Raises `InputError` for a circuit of another graph, and where there is nothing to explain.
    """
    if circuit.graph != problem.graph:
        raise InputError("the circuit is of a model of another shape than the problem")
    gap, n = gap_of(problem, generator, level), len(problem.tokens)
    kept, edges = problem.circuit_costs(circuit.keep), circuit.edges
    rest = problem.circuit_costs(~circuit.keep)
    less = [problem.circuit_costs(circuit.without(edge)) for edge in edges]
    costs = torch.stack([kept, rest, *less])
    mean, draws = gap.share(costs), gap.shares(costs, resamples(n, generator))
    # What dropping an edge costs, paired: both circuits are measured on the same sequences.
    mean[2:], draws[:, 2:] = mean[0] - mean[2:], draws[:, :1] - draws[:, 2:]
    found = percentiles(mean, draws, n, level)
    null, p_value = random_control(problem, gap, circuit, float(mean[0]), generator, n_random)
    ends = bootstrap_intervals(torch.stack([gap.intact, gap.empty], dim=1), generator, level)
    return Check(
        circuit,
        found[0],
        found[1],
        {edge: found[2 + i] for i, edge in enumerate(edges)},
        null,
        p_value,
        ends[0],
        ends[1],
        problem.metric,
        problem.text,
    )


def random_control(
    problem: EdgeProblem, gap: Gap, circuit: Circuit, f: float, generator: torch.Generator, n_random: int
) -> tuple[Null | None, float | None]:
    """f of random circuits of at least as many edges, and the p-value of f among them; None for fewer than two."""
    if n_random < 2:
        return None, None
    drawn = [random_circuit(problem.graph, len(circuit), generator) for _ in range(n_random)]
    found = gap.share(torch.stack([problem.circuit_costs(each.keep) for each in drawn]))
    said = f"{n_random} random circuits of at least {len(circuit)} edges, all on paths from tokens to logits"
    return null_summary(found, said), monte_carlo_p_value(f, found)


def resamples(n: int, generator: torch.Generator, draws: int = DRAWS) -> Float[Tensor, "draw batch"]:
    """How often each of n sequences is in each bootstrap resample."""
    picks = torch.randint(n, (draws, n), generator=generator)
    return torch.zeros(draws, n, dtype=torch.float64).scatter_add_(1, picks, torch.ones(draws, n, dtype=torch.float64))


def percentiles(mean: Float[Tensor, "*rest"], draws: Float[Tensor, "draw *rest"], n: int, level: float) -> Estimates:
    """The values with the middle `level` of their bootstrap draws: a ratio of means has no simpler interval."""
    tail = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = draws.quantile(tail, dim=0)
    return Estimates(mean, low, high, n, level, f"percentile bootstrap, {len(draws)} resamples")
