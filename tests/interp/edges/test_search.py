"""Circuits: what pruning leaves, what greedy search finds, and random ones."""

import itertools

import pytest
import torch

from interp.edges import METHODS, Edge, Graph, edge_problem, edges_above, exact, greedy, random_circuit, top_edges
from interp.edges.search import circuit_of, prune
from interp.errors import InputError
from tests.known_edges import MODELS, make, problem_of, true_edges
from toy_models.handmade.variants import with_idle_heads

GRAPH = Graph(n_layers=2, n_heads=2, positions="standard")
WITH_MLPS = Graph(n_layers=2, n_heads=1, mlps=True)
NOT_NEEDED = {
    # Half a pointer suffices, and of two copies of one token the head may look at either.
    "induction_q": {"position -> L0H0.Q", "position -> L0H0.K"},
    "induction_both": {"position -> L0H1.Q", "position -> L0H1.K"},
}


def on_a_path(graph, kept):
    """Edges on paths from token or position to the logits, found by walking every path."""
    found = set()

    def walk(node, path):
        if node == "logits":
            found.update(path)
        for edge in kept:
            if edge.sender == node:
                walk(edge.node, (*path, edge))

    for start in ("token", "position"):
        walk(start, ())
    return found


@pytest.mark.parametrize("graph", [GRAPH, WITH_MLPS], ids=["heads", "heads and MLPs"])
@pytest.mark.parametrize("seed", range(5))
def test_pruning_leaves_the_edges_that_lie_on_a_path(graph, seed):
    keep = torch.rand(len(graph.edges), generator=torch.Generator().manual_seed(seed)) < 0.25
    circuit = prune(graph, keep)
    kept = [edge for edge, yes in zip(graph.edges, keep.tolist(), strict=True) if yes]
    assert set(circuit.edges) == on_a_path(graph, kept)


def test_a_graph_has_an_edge_from_every_node_to_every_input_after_it():
    """Layer 0 reads 2 embeddings by 6 inputs, layer 1 also 2 heads, the logits all 6 senders."""
    assert len(GRAPH.edges) == 6 * 2 + 6 * 4 + 6
    names = set(map(str, WITH_MLPS.edges))
    assert {"L0H0 -> L0 MLP", "L0 MLP -> L1H0.V", "L0 MLP -> L1 MLP", "L1 MLP -> logits"} <= names
    assert not {"L0 MLP -> L0H0.Q", "L1H0 -> L1H0.K", "L1 MLP -> L0 MLP"} & names
    assert {Edge.parse(str(edge)) for edge in GRAPH.edges} == set(GRAPH.edges)
    shortformer = Graph(n_layers=1, n_heads=1, positions="shortformer")
    readers = {edge.receiver for edge in shortformer.edges if edge.sender == "position"}
    assert readers == {"L0H0.Q", "L0H0.K"}


def test_what_pruning_takes_away_changes_nothing_when_edges_are_resampled():
    problem = problem_of(make("induction_both"), "resample")
    keep = torch.rand(len(problem.graph.edges), generator=torch.Generator().manual_seed(1)) < 0.5
    pruned = prune(problem.graph, keep)
    assert len(pruned) < int(keep.sum())
    assert torch.allclose(problem.circuit_costs(pruned.keep), problem.circuit_costs(keep), atol=1e-9)


@pytest.mark.parametrize("ablation", ["zero", "mean"])
@pytest.mark.parametrize("name", [name for name in MODELS if name != "induction_shared"])
def test_greedy_search_recovers_the_true_circuit_at_a_small_tau(name, ablation):
    made = make(name)
    tau = 1e-4
    found = edges_above(greedy(problem_of(made, ablation), tau=tau), tau, absolute=False)
    true = {str(edge) for edge in true_edges(made.truth)}
    missed = true - set(map(str, found.edges))
    assert set(map(str, found.edges)) <= true
    assert missed <= NOT_NEEDED.get(name, set())


def test_greedy_search_keeps_one_of_two_that_stand_in_for_each_other():
    """Either feed at half strength suffices for the pattern, so the search finds only one of them."""
    made = make("induction_shared", sharpness=80.0)
    kept = set(map(str, edges_above(greedy(problem_of(made), tau=1e-3), 1e-3, absolute=False).edges))
    assert len(kept & {"L0H0 -> L1H0.K", "L0H1 -> L1H0.K"}) == 1


def test_the_scores_of_greedy_search_are_rises_that_add_up_to_what_its_circuit_costs():
    """What was shut cost its rise, step by step, so the circuit costs the sum of them."""
    problem, tau = problem_of(make("induction_both"), "mean"), 0.05
    scores = greedy(problem, tau=tau)
    keep = scores.above(tau, absolute=False)
    rises = float(scores.value[~keep].sum())
    found = float((problem.circuit_costs(keep) - problem.intact_costs()).mean())
    assert found == pytest.approx(rises, abs=1e-9)
    assert scores.runs <= 2 + len(problem.graph.edges)


def test_greedy_search_goes_from_the_logits_back_and_never_tries_an_edge_into_a_node_that_nothing_reads():
    """So it takes two runs and one for each edge into the logits or into a node that an edge it kept leaves."""
    problem, tau = problem_of(with_idle_heads(make("induction_k"), 2)), 1e-4
    scores = greedy(problem, tau=tau)
    keep = scores.above(tau, absolute=False).tolist()
    read = {"logits"} | {edge.sender for edge, kept in zip(problem.graph.edges, keep, strict=True) if kept}
    assert read == {"logits", "L0H0", "L1H0", "token", "position"}
    assert scores.runs == 2 + sum(edge.node in read for edge in problem.graph.edges)


def test_a_larger_tau_leaves_fewer_edges():
    problem = problem_of(make("induction_both"))
    sizes = [len(edges_above(greedy(problem, tau=tau), tau, absolute=False)) for tau in (1e-4, 0.3, 10.0)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[1] > sizes[2]


def test_random_circuits_lie_on_paths_and_are_at_least_as_large_and_differ(generator):
    for n in (0, 1, 5, 20, len(GRAPH.edges)):
        drawn = [random_circuit(GRAPH, n, generator) for _ in range(20)]
        for circuit in drawn:
            assert n <= len(circuit) <= n + 3
            assert set(circuit.edges) == on_a_path(GRAPH, circuit.edges)
        different = {circuit.edges for circuit in drawn}
        assert len(different) == 1 if n in (0, len(GRAPH.edges)) else len(different) > 2


def test_top_edges_are_the_best_by_size_or_by_sign():
    problem = problem_of(make("induction_k"))
    scores = exact(problem)
    true = true_edges(make("induction_k").truth)
    assert set(top_edges(scores, len(true)).edges) == true
    assert top_edges(scores, 0).edges == ()
    assert len(top_edges(scores, len(scores.graph.edges))) == len(scores.graph.edges)
    order = scores.ranking().tolist()
    assert order == sorted(range(len(order)), key=lambda i: (-abs(float(scores.value[i])), i))


def test_every_method_answers_the_same_call_with_a_number_for_each_edge(generator):
    problem = problem_of(make("induction_k"), "mean")
    for name, method in METHODS.items():
        scores = method(problem, generator)
        assert scores.method == name
        assert bool(scores.value.isfinite().all())
        assert list(scores.to_dict()["scores"]) == [str(edge) for edge in problem.graph.edges]


def test_what_cannot_be_a_circuit_is_refused(generator):
    problem = problem_of(make("induction_k"))
    scores = exact(problem)
    for n in (-1, 1 + len(problem.graph.edges)):
        with pytest.raises(InputError, match=f"has 19 edges, so a circuit has 0 to 19 of them, got {n}"):
            top_edges(scores, n)
    with pytest.raises(InputError, match="a circuit cannot have 99"):
        random_circuit(problem.graph, 99, generator)
    with pytest.raises(InputError, match="tau, the rise from which an edge stays, must be above 0, got 0"):
        greedy(problem, tau=0.0)
    with pytest.raises(InputError, match="no node 'L7H0' writes"):
        circuit_of(problem.graph, ["L7H0 -> logits"])
    same = edge_problem(problem.weights, problem.tokens, problem.scored, corrupted=problem.tokens)
    with pytest.raises(InputError, match="must be above 0"):
        greedy(same)


def test_a_circuit_knows_its_nodes_and_what_is_left_without_an_edge():
    made = make("induction_k")
    graph = problem_of(made).graph
    circuit = circuit_of(graph, [*true_edges(made.truth), "L0H0 -> L1H0.V"])
    assert circuit.nodes == ("token", "position", "L0H0", "L1H0", "logits")
    left = circuit.without("L0H0 -> L1H0.V")
    assert {edge for edge, yes in zip(graph.edges, left.tolist(), strict=True) if yes} == true_edges(made.truth)
    assert circuit.to_dict()["of"] == len(graph.edges)
    loose = circuit_of(graph, ["token -> L0H0.V", "L1H0 -> logits"])
    assert loose.edges == ()
    assert list(itertools.chain(loose.nodes)) == ["logits"]
