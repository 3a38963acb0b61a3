"""Circuits: sets of edges, chosen by scores or by greedy search, without what reaches nothing."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from interp.edges.graph import LOGITS, POSITION, TOKEN, Edge, Graph
from interp.edges.methods import eap, eap_ig, exact, random_scores, weight_norm
from interp.edges.problem import METRICS, EdgeProblem
from interp.edges.scores import EdgeScores, scores_from
from interp.errors import InputError

GREEDY_SHARE = 0.01
"""Default tau of the greedy search: this share of what all edges together are worth."""


@dataclass(frozen=True, eq=False)
class Circuit:
    """Some of a graph's edges, each of which lies on a path from an embedding to the logits."""

    graph: Graph
    keep: Bool[Tensor, " edge"]

    @property
    def edges(self) -> tuple[Edge, ...]:
        return tuple(edge for edge, kept in zip(self.graph.edges, self.keep.tolist(), strict=True) if kept)

    @property
    def nodes(self) -> tuple[str, ...]:
        """Senders that the circuit has, in order; then the logits."""
        used = {edge.sender for edge in self.edges}
        return (*(sender for sender in self.graph.senders if sender in used), LOGITS)

    def __len__(self) -> int:
        return int(self.keep.sum())

    def without(self, edge: Edge | str) -> Bool[Tensor, " edge"]:
        """The edges but this one, nothing else taken out."""
        keep = self.keep.clone()
        keep[self.graph.find(edge)] = False
        return keep

    def to_dict(self) -> dict[str, Any]:
        return {"edges": [str(edge) for edge in self.edges], "nodes": list(self.nodes), "of": len(self.graph.edges)}


def circuit_of(graph: Graph, edges: Iterable[Edge | str]) -> Circuit:
    """The circuit of these edges, pruned; `InputError` for an edge that the graph does not have."""
    keep = torch.zeros(len(graph.edges), dtype=torch.bool)
    for edge in edges:
        keep[graph.find(edge)] = True
    return prune(graph, keep)


def prune(graph: Graph, keep: Bool[Tensor, " edge"]) -> Circuit:
    """Without edges that no path of kept edges joins to an embedding, or to the logits.

    What does not reach the logits changes nothing. What no embedding reaches carries nothing of these tokens: with
    resampling the same as its ablated version, else a constant.
    """
    kept = [(place, graph.edges[place]) for place in keep.nonzero()[:, 0].tolist()]
    reached = {TOKEN, POSITION}
    for _, edge in kept:  # receivers in the order in which they are computed
        if edge.sender in reached:
            reached.add(edge.node)
    used = {LOGITS}
    for _, edge in reversed(kept):
        if edge.node in used:
            used.add(edge.sender)
    pruned = torch.zeros(len(graph.edges), dtype=torch.bool)
    pruned[[place for place, edge in kept if edge.sender in reached and edge.node in used]] = True
    return Circuit(graph, pruned)


def top_edges(scores: EdgeScores, n: int, absolute: bool = True) -> Circuit:
    """The circuit of the n best edges, pruned; `InputError` for an n that the graph does not have."""
    total = len(scores.graph.edges)
    if not 0 <= n <= total:
        raise InputError(f"the graph has {total} edges, so a circuit has 0 to {total} of them, got {n}")
    keep = torch.zeros(total, dtype=torch.bool)
    keep[scores.ranking(absolute)[:n]] = True
    return prune(scores.graph, keep)


def edges_above(scores: EdgeScores, threshold: float, absolute: bool = True) -> Circuit:
    """The circuit of all edges that score at least the threshold, pruned."""
    return prune(scores.graph, scores.above(threshold, absolute))


def random_circuit(graph: Graph, n: int, generator: torch.Generator) -> Circuit:
    """n edges drawn at random, every one on a path, or as few more as will do.

    Edges are taken in random order until n of them lie on paths, then taken out again, in random order, where n stay.
    Raises `InputError` for an n that the graph does not have.
    """
    if not 0 <= n <= len(graph.edges):
        raise InputError(f"the graph has {len(graph.edges)} edges, so a circuit cannot have {n}")
    order = torch.randperm(len(graph.edges), generator=generator)
    low, high = n, len(graph.edges)
    while low < high:  # more edges never leave fewer of them after pruning
        middle = (low + high) // 2
        low, high = (low, middle) if len(_first(graph, order, middle)) >= n else (middle + 1, high)
    circuit = _first(graph, order, high)
    for place in order[torch.randperm(len(order), generator=generator)].tolist():
        if len(circuit) == n:
            break
        if circuit.keep[place]:
            keep = circuit.keep.clone()
            keep[place] = False
            smaller = prune(graph, keep)
            circuit = smaller if len(smaller) >= n else circuit
    return circuit


def _first(graph: Graph, order: Tensor, n: int) -> Circuit:
    keep = torch.zeros(len(graph.edges), dtype=torch.bool)
    keep[order[:n]] = True
    return prune(graph, keep)


@torch.no_grad()
def greedy(problem: EdgeProblem, generator: torch.Generator | None = None, tau: float | None = None) -> EdgeScores:
    """ACDC-style search (Conmy et al. 2023, arXiv:2304.14997): edges are shut one by one, from the logits back.

    Receivers in reverse order of computation, of each the latest senders first: an edge stays shut if the cost rises
    by less than tau. Its score is that rise, so `edges_above(scores, tau, absolute=False)` is the circuit found. Edges
    into nodes that nothing reads any more cost 0. Without tau: `GREEDY_SHARE` of what all edges together are worth.
    Raises `InputError` for a tau that is not above 0.
    """
    current = float(problem.intact_costs().mean())
    tau = GREEDY_SHARE * (float(problem.empty_costs().mean()) - current) if tau is None else tau
    if not tau > 0:
        raise InputError(f"tau, the rise from which an edge stays, must be above 0, got {tau:.3g}")
    masks, edges, runs = problem.ones(), problem.graph.edges, 2
    opened = [True] * len(edges)
    values = torch.zeros(len(edges), dtype=torch.float64)
    for place in reversed(range(len(edges))):
        masks[place], opened[place] = 0, False
        if not _is_read(problem.graph, opened, edges[place].node):
            continue
        runs += 1
        cost = float(problem.costs(masks).mean())
        values[place] = cost - current
        if values[place] < tau:
            current = cost
        else:
            masks[place], opened[place] = 1, True
    said = f"rise of the cost when tried, from the logits back, edges below tau = {tau:.3g} shut (greedy, ACDC)"
    return scores_from(problem, "greedy", values, said, runs=runs, unit=METRICS[problem.metric])


def _is_read(graph: Graph, opened: Sequence[bool], node: str) -> bool:
    """Whether any open edge leaves the node (the logits are always read)."""
    return node == LOGITS or any(opened[place] for place in graph.leaving[node])


Method = Callable[[EdgeProblem, torch.Generator], EdgeScores]
METHODS: Mapping[str, Method] = {
    "eap-ig": eap_ig,
    "eap": eap,
    "exact": exact,
    "greedy": greedy,
    "random": random_scores,
    "weights": weight_norm,
}
"""All ways of scoring edges, under the names that the command line has for them."""
