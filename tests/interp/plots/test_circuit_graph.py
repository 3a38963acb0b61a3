"""The picture of a circuit draws its edges, and no others, from the right nodes in the right colours."""

import pytest
import torch
from matplotlib.colors import to_rgba
from matplotlib.patches import FancyArrowPatch

from interp.edges import Graph, exact, faithfulness_curve, random_scores
from interp.edges.search import circuit_of
from interp.errors import InputError
from interp.plots.circuit_graph import CHANNEL_COLORS, circuit_graph, layout
from interp.plots.faithfulness import faithfulness_curves
from tests.known_edges import make, problem_of

GRAPH = Graph(n_layers=2, n_heads=2, mlps=True, positions="standard")
CIRCUIT = circuit_of(
    GRAPH,
    ["token -> L0H1.V", "position -> L0H1.Q", "L0H1 -> L1H0.K", "L0H1 -> L0 MLP", "L0 MLP -> logits", "L1H0 -> logits"],
)


def arrows(figure):
    return [patch for patch in figure.axes[0].patches if isinstance(patch, FancyArrowPatch)]


def drawn(weights):
    return circuit_graph(CIRCUIT, weights, title="A circuit", notes={"L0H1": "previous-token"})


def test_every_edge_is_an_arrow_between_its_nodes_in_the_colour_of_its_channel():
    figure, places = drawn(torch.rand(len(GRAPH.edges))), layout(GRAPH)
    wanted = set()
    for edge in CIRCUIT.edges:
        (x0, _), (x1, _) = places[edge.sender], places[edge.node]
        port = {"Q": -0.17, "V": 0.17}.get(edge.channel, 0.0)
        wanted.add((round(x0, 3), round(x1 + port, 3), to_rgba(CHANNEL_COLORS[edge.channel])[:3]))
    found = {
        (round(a._posA_posB[0][0], 3), round(a._posA_posB[1][0], 3), a.get_edgecolor()[:3]) for a in arrows(figure)
    }
    assert found == wanted
    assert len(arrows(figure)) == len(CIRCUIT) == 6


def test_width_is_the_weight_and_weights_below_zero_are_dashed():
    weights = torch.zeros(len(GRAPH.edges))
    for edge, weight in zip(CIRCUIT.edges, (1.0, -0.5, 0.25, 0.1, 0.0, 0.75), strict=True):
        weights[GRAPH.find(edge)] = weight
    found = sorted((arrow.get_linewidth(), arrow.get_linestyle()) for arrow in arrows(drawn(weights)))
    assert [width for width, _ in found] == pytest.approx([0.8 + 4.2 * w for w in (0, 0.1, 0.25, 0.5, 0.75, 1)])
    assert [style for _, style in found] == ["-", "-", "-", "--", "-", "-"]


def test_nodes_outside_the_circuit_are_pale_and_notes_stand_beside_nodes():
    texts = {text.get_text(): text.get_color() for text in drawn(torch.ones(len(GRAPH.edges))).axes[0].texts}
    assert set(GRAPH.senders) | {"logits", "previous-token"} == set(texts)
    pale = {name for name, color in texts.items() if color == "#bbbbbb"}
    assert pale == {"L0H0", "L1H1", "L1 MLP"}


def test_no_two_nodes_stand_in_one_place():
    for graph in (GRAPH, Graph(1, 1), Graph(3, 5, positions="standard"), Graph(2, 1, mlps=True)):
        places = layout(graph)
        assert len(set(places.values())) == len(graph.senders) + 1
        assert set(places) == {*graph.senders, "logits"}


def test_weights_for_another_number_of_edges_are_refused():
    with pytest.raises(InputError, match=f"each of the graph's {len(GRAPH.edges)} edges is needed, got 2"):
        circuit_graph(CIRCUIT, torch.ones(2), title="A circuit")


def test_the_curves_are_those_measured_with_one_entry_for_chance(generator):
    problem = problem_of(make("induction_k"))
    scores = {"exact": exact(problem), "random 0": random_scores(problem, generator)}
    scores["random 1"] = random_scores(problem, generator)
    curves = {name: faithfulness_curve(problem, each, generator) for name, each in scores.items()}
    axes = faithfulness_curves(curves, circuit=(7, 1.0), title="Curves").axes[0]
    lines = [line for line in axes.lines if len(line.get_xdata()) == 20]
    assert lines[0].get_ydata().tolist() == curves["exact"].faithfulness.mean.tolist()
    assert lines[2].get_ydata().tolist() == curves["random 1"].faithfulness.mean.tolist()
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["exact", "random rankings"]
    assert "7 edges: 1.00" in [text.get_text() for text in axes.texts]
    axes = faithfulness_curves(curves, circuit=(9, 0.5), pruned=7, title="Curves").axes[0]
    assert axes.collections[-1].get_offsets().tolist() == [[9, 0.5]]  # at the rank, which is where the curve is
    assert "7 of 9 edges on paths: 0.50" in [text.get_text() for text in axes.texts]
    with pytest.raises(InputError, match="no curve to draw"):
        faithfulness_curves({}, title="Curves")
