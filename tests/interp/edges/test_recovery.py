"""AUROC, precision and recall of edges, against scikit-learn's and by hand."""

import pytest
import torch
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from interp.edges import EdgeScores, Graph, recovery
from interp.errors import InputError

GRAPH = Graph(n_layers=2, n_heads=2, positions="standard")


def scores_of(values):
    return EdgeScores("test", GRAPH, torch.as_tensor(values, dtype=torch.float64), "nats", "by hand", 0)


def drawn(seed, levels):
    """Scores with many ties, and a third of the edges true."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(-levels, levels + 1, (len(GRAPH.edges),), generator=generator)
    true = torch.rand(len(GRAPH.edges), generator=generator) < 0.3
    return scores_of(values), true, [edge for edge, yes in zip(GRAPH.edges, true.tolist(), strict=True) if yes]


@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_the_measures_are_those_of_scikit_learn_ties_included(seed, absolute):
    scores, true, edges = drawn(seed, levels=4)
    found = recovery(scores, edges, absolute)
    value = (scores.value.abs() if absolute else scores.value).numpy()
    assert found.auroc == pytest.approx(roc_auc_score(true.numpy(), value))
    assert found.average_precision == pytest.approx(average_precision_score(true.numpy(), value))
    precision, recall, threshold = precision_recall_curve(true.numpy(), value)
    assert found.threshold.tolist() == threshold[::-1].tolist()
    assert found.precision.tolist() == pytest.approx(precision[-2::-1].tolist())
    assert found.recall.tolist() == pytest.approx(recall[-2::-1].tolist())


def test_rounding_errors_are_ties_and_not_an_order():
    """A hundred-trillionth of the largest score says nothing about which edge is true."""
    values = torch.zeros(len(GRAPH.edges))
    values[0], values[1:] = 1.0, torch.linspace(1e-15, 1e-14, len(values) - 1)
    assert recovery(scores_of(values), [GRAPH.edges[-1]]).auroc == pytest.approx(
        (len(values) - 2) / 2 / (len(values) - 1)
    )


def test_without_true_or_false_edges_there_is_nothing_to_tell_apart():
    scores = scores_of(torch.zeros(len(GRAPH.edges)))
    for edges in ([], GRAPH.edges):
        with pytest.raises(InputError, match="true and false edges are both needed"):
            recovery(scores, edges)
    with pytest.raises(InputError, match=r"no input is called 'L9H0\.K'"):
        recovery(scores, ["token -> L9H0.K"])
