"""A transformer as a graph: effects of its edges, circuits, and how faithful these are."""

from interp.edges.curve import faithfulness_curve
from interp.edges.faithfulness import check_circuit
from interp.edges.graph import Edge, Graph, graph_of
from interp.edges.graph_run import run_graph
from interp.edges.methods import eap, eap_ig, exact, random_scores, weight_norm
from interp.edges.problem import EdgeProblem, edge_problem
from interp.edges.recovery import recovery
from interp.edges.scores import EdgeScores
from interp.edges.search import METHODS, Circuit, edges_above, greedy, random_circuit, top_edges

__all__ = [
    "METHODS",
    "Circuit",
    "Edge",
    "EdgeProblem",
    "EdgeScores",
    "Graph",
    "check_circuit",
    "eap",
    "eap_ig",
    "edge_problem",
    "edges_above",
    "exact",
    "faithfulness_curve",
    "graph_of",
    "greedy",
    "random_circuit",
    "random_scores",
    "recovery",
    "run_graph",
    "top_edges",
    "weight_norm",
]
