"""Graphs of Hugging Face models, gated and parallel MLPs included, against these models run with hooks of PyTorch."""

from functools import partial

import pytest
import torch

from interp.edges import Edge, eap, eap_ig, edge_problem, graph_of, run_graph, weight_norm
from interp.edges.graph_run import embeddings
from interp.weights import weights_of
from interp.weights.folding import fold
from tests.hugging_face import MODELS, hugging_face, tokens_for, wrapped
from tests.input_twin import run_changed, ungrouped

BATCH, POS = 2, 11


@pytest.fixture(scope="module")
def cases():
    """The model without grouped queries, its weights as read through a bridge, and its graph."""
    found = {}
    for name in MODELS:
        model = hugging_face(name)
        w = weights_of(wrapped(model), fold=False)
        found[name] = (ungrouped(model), w, graph_of(w))
    return found


def close(a, b, tolerance=2e-5):
    return float((a - b).detach().abs().max()) <= tolerance * float(b.detach().abs().max())


def two_runs(w, graph):
    """Embeddings of some tokens, and everything that is written on others."""
    (tokens, corrupted) = (tokens_for(BATCH, POS, seed) for seed in (1, 2))
    return tokens, embeddings(w, graph, tokens), run_graph(w, graph, embeddings(w, graph, corrupted))[1]


def changes_of(graph, masks, there):
    """What each receiver of the twin has to read besides: sum over senders of (m - 1) (written - other)."""

    def change(edges, written):
        return sum((m - 1) * (written[edge.sender] - there[edge.sender]) for edge, m in edges)

    into = {}
    for edge, m in zip(graph.edges, masks.tolist(), strict=True):
        if edge.sender != "position":  # the twin's token has the positions with it, the same in both runs
            into.setdefault(edge.receiver, []).append((edge, m))
    return {receiver: partial(change, edges) for receiver, edges in into.items()}


@pytest.mark.parametrize("name", MODELS)
def test_with_every_edge_open_or_shut_the_logits_are_the_models_on_one_or_the_other_tokens(cases, name):
    twin, w, graph = cases[name]
    tokens, start, others = two_runs(w, graph)
    opened, shut = (torch.full((len(graph.edges),), float(m)) for m in (1, 0))
    assert close(run_graph(w, graph, start, opened, others)[0], twin(tokens).logits)
    assert close(run_graph(w, graph, start, shut, others)[0], twin(tokens_for(BATCH, POS, 2)).logits)


@pytest.mark.parametrize("name", MODELS)
def test_edges_half_open_give_what_hooks_on_transformers_own_model_give(cases, name):
    twin, w, graph = cases[name]
    tokens, start, others = two_runs(w, graph)
    masks = torch.rand(len(graph.edges), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    _, there = run_changed(twin, tokens_for(BATCH, POS, 2), {})
    expected, _ = run_changed(twin, tokens, changes_of(graph, masks, there))
    found, _ = run_graph(w, graph, start, masks, others)
    assert close(found, expected)
    assert not close(found, twin(tokens).logits, 1e-2)


@pytest.mark.parametrize("name", ["Pythia", "one after the other", "Llama", "Gemma"])
def test_all_edges_into_an_mlp_together_are_its_whole_input(cases, name):
    """Its input becomes the stream of the other run: before the heads of its layer where it runs beside them."""
    twin, w, graph = cases[name]
    tokens, start, others = two_runs(w, graph)
    masks = torch.tensor([float(edge.receiver != "L1 MLP") for edge in graph.edges])
    _, here = run_changed(twin, tokens, {})
    _, there = run_changed(twin, tokens_for(BATCH, POS, 2), {})
    senders = ["token", "L0H0", "L0H1", "L0H2", "L0H3", "L0 MLP"]
    senders += [] if name == "Pythia" else ["L1H0", "L1H1", "L1H2", "L1H3"]
    assert [edge.sender for edge in graph.edges if edge.receiver == "L1 MLP"] == senders
    whole = torch.stack([there[sender] - here[sender] for sender in senders]).sum(0)
    expected, _ = run_changed(twin, tokens, {"L1 MLP": lambda written: whole})
    found, _ = run_graph(w, graph, start, masks, others)
    assert close(found, expected)
    assert not close(found, twin(tokens).logits, 1e-2)


def test_an_mlp_beside_the_heads_reads_what_they_read_and_one_behind_them_what_they_write(cases):
    beside, behind = (cases[name][2] for name in ("Pythia", "one after the other"))
    assert (beside.parallel, behind.parallel, cases["Llama"][2].parallel) == (True, False, False)
    assert Edge("L1H3", "L1 MLP") in behind.index
    assert {*behind.edges} - {*beside.edges} == {
        Edge(f"L{layer}H{head}", f"L{layer} MLP") for layer in range(2) for head in range(4)
    }
    assert {*beside.edges} < {*behind.edges}


@pytest.mark.parametrize("name", ["Pythia", "Llama"])
def test_attribution_is_the_slope_of_the_cost_and_along_the_inputs_it_sums_to_the_whole(cases, name):
    """EAP of each edge by finite differences of its mask; EAP-IG of all edges from the tokens is what these cost."""
    _, w, graph = cases[name]
    tokens, scored = tokens_for(BATCH, POS), (torch.arange(POS) > 4).expand(BATCH, -1).clone()
    problem = edge_problem(w, tokens, scored, metric="loss", corrupted=tokens_for(BATCH, POS, seed=2))
    slopes, step, masks = eap(problem), 1e-4, problem.ones()
    for place in range(0, len(graph.edges), 9):
        ends = []
        for sign in (-1, 1):
            masks[place] = 1 + sign * step
            ends.append(float(problem.costs(masks).mean()))
        masks[place] = 1
        assert float(slopes.value[place]) == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-5)
    into_mlps = [place for place, edge in enumerate(graph.edges) if edge.channel == "MLP"]
    assert float(slopes.value[into_mlps].abs().max()) > 1e-2
    if name == "Llama":  # bends too much for few steps
        return
    along = eap_ig(problem, steps=40)
    cost = float((problem.costs(start=problem.others.first(1)) - problem.intact_costs()).mean())
    assert sum(along[edge] for edge in graph.edges if edge.sender == "token") == pytest.approx(cost, abs=1e-3)


def test_the_weights_of_a_gated_mlp_read_by_both_of_their_matrices(cases):
    """||A B|| / (||A|| ||B||) with B the gate and the other matrix side by side, written out."""
    _, w, graph = cases["Llama"]
    problem = edge_problem(w, tokens_for(2, POS), (torch.arange(POS) > 4).expand(2, -1).clone(), ablation="zero")
    found = weight_norm(problem)["L0H1 -> L1 MLP"]
    folded = fold(w)
    A = folded.W_V[0, 1] @ folded.W_O[0, 1]
    B = torch.cat([folded.W_in[1], folded.W_gate[1]], dim=1)
    assert found == pytest.approx(float((A @ B).norm() / (A.norm() * B.norm())), abs=1e-9)
    assert graph.edges
