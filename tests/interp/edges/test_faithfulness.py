"""Faithfulness, completeness, minimality and the curve, where they are known, and against loops."""

import math

import numpy as np
import pytest
import torch

from interp.edges import (
    Graph,
    check_circuit,
    edge_problem,
    exact,
    faithfulness_curve,
    random_scores,
    top_edges,
    weight_norm,
)
from interp.edges.curve import MIB_SHARES, default_sizes
from interp.edges.faithfulness import gap_of, percentiles, resamples
from interp.edges.search import circuit_of
from interp.errors import InputError
from interp.heads import Protocol, predictable_positions, repeated_tokens
from interp.heads.stimuli import fresh_control
from interp.weights import weights_of
from tests.known_edges import make, problem_of, true_edges
from toy_models.config import TransformerConfig
from toy_models.handmade.blocks import Size
from toy_models.handmade.model import copy_loss, even_attention_loss
from toy_models.task_config import RepeatedTokensConfig
from toy_models.tasks import LossEstimate
from toy_models.train_config import RunConfig, TrainConfig
from toy_models.training import Target, train_in_memory


@pytest.fixture(scope="module")
def trained():
    """Two problems of a small model that learned induction: sequences to choose a circuit on, and others to check."""
    config = RunConfig(
        TransformerConfig(n_layers=2, n_heads=2, d_model=32, d_head=16, d_vocab=20, n_ctx=20, positions="standard"),
        RepeatedTokensConfig(d_vocab=20, n_ctx=20, bos=True, min_period=4, max_period=9, max_offset=2),
        TrainConfig(steps=400, batch_size=32, learning_rate=1e-2, warmup_steps=50, eval_every=400, eval_sequences=16,
                    device="cpu", stop_margin=None),
    )  # fmt: skip
    model = train_in_memory(config, target=Target(3.0, LossEstimate(0.19, 0.001, 4096))).model
    generator, protocol = torch.Generator().manual_seed(0), Protocol(2, 8, d_vocab=20, bos=0)

    def problem(ablation):
        tokens = repeated_tokens(protocol, 24, generator)
        corrupted = fresh_control(repeated_tokens(protocol, 24, generator), protocol, generator).tokens
        weights = weights_of(model, fold=False, dtype=torch.float64)
        scored = predictable_positions(protocol, 24)
        return edge_problem(weights, tokens, scored, ablation=ablation, corrupted=corrupted)

    return problem


@pytest.mark.parametrize("name", ["induction_k", "induction_q", "two_back", "induction_both"])
def test_the_true_circuit_is_faithful_complete_and_minimal(generator, name):
    made = make(name)
    problem = problem_of(made, "zero")
    check = check_circuit(problem, circuit_of(problem.graph, true_edges(made.truth)), generator, n_random=20)
    assert check.faithfulness.mean == pytest.approx(1, abs=1e-9)
    assert check.complement.mean == pytest.approx(0, abs=1e-9)
    assert check.minimality is not None
    assert check.random is not None
    assert check.random.maximum < 0.9
    assert check.p_value == pytest.approx(1 / 21)
    needed = set(check.necessity) - set(check.spare())
    spare = {"induction_q": 2, "induction_both": 2}.get(name, 0)  # half a pointer suffices
    assert len(needed) == len(true_edges(made.truth)) - spare


def test_what_an_edge_of_the_true_circuit_is_worth_is_its_exact_effect_over_the_gap(generator):
    made = make("induction_k")
    problem = problem_of(made, "zero")
    check = check_circuit(problem, circuit_of(problem.graph, true_edges(made.truth)), generator, n_random=2)
    scores, gap = exact(problem), float((problem.empty_costs() - problem.intact_costs()).mean())
    for edge, estimate in check.necessity.items():
        assert estimate.mean == pytest.approx(scores[edge] / gap, abs=1e-9)
    assert check.minimality is not None
    assert check.minimality.mean == pytest.approx(min(scores[edge] for edge in check.circuit.edges) / gap)


def test_a_circuit_that_lacks_an_edge_is_neither_faithful_nor_complete_and_a_spare_edge_is_named(generator):
    made = make("induction_both")
    problem = problem_of(made, "zero")
    true = {str(edge) for edge in true_edges(made.truth)}
    none = check_circuit(problem, circuit_of(problem.graph, true - {"L1H0 -> logits", "L1H1 -> logits"}), generator)
    assert (none.faithfulness.mean, none.minimality, len(none.circuit)) == (pytest.approx(0), None, 0)
    long = check_circuit(problem, circuit_of(problem.graph, true | {"L0H0 -> L1H1.V"}), generator, n_random=2)
    assert "L0H0 -> L1H1.V" in map(str, long.spare())
    assert long.minimality is not None
    assert long.minimality.mean == pytest.approx(0, abs=1e-9)
    half = {edge for edge in true if "L1H1" not in edge and "L0H1" not in edge}
    one = check_circuit(problem, circuit_of(problem.graph, half), generator, n_random=2)
    assert 0.5 < one.faithfulness.mean < 0.99
    assert one.complement.mean > 0.5  # the other way of induction is left outside


def test_all_edges_have_faithfulness_one_and_no_edge_zero_whatever_the_scores(trained, generator):
    for ablation in ("resample", "mean", "zero"):
        problem = trained(ablation)
        curve = faithfulness_curve(problem, random_scores(problem, generator), generator, sizes=[0, 20, 42])
        assert curve.faithfulness.mean[0] == pytest.approx(0, abs=1e-12)
        assert curve.faithfulness.mean[-1] == pytest.approx(1, abs=1e-12)
        assert f"({ablation})" in curve.text


def test_the_curve_of_the_smeared_model_and_its_areas_are_those_counted_by_hand(generator):
    """V and logits come first and give even attention (f = e); with K still so, with Q all: f = 0, 0, e, e, 1, 1.

    By trapezoids CPR = (0 + e + e + 1 + 1/2) / 5 and CMD = (1/2 + 1 + 2 (1 - e)) / 5.
    """
    size = Size(d_vocab=32, n_ctx=22)
    whole = math.log(32) - copy_loss(size)
    e = (math.log(32) - even_attention_loss(size)) / whole
    problem = problem_of(make("induction_smeared"), "zero")
    curve = faithfulness_curve(problem, exact(problem), generator)
    assert curve.sizes.tolist() == [0, 1, 2, 3, 4, 5]
    assert curve.faithfulness.mean.tolist() == pytest.approx([0, 0, e, e, 1, 1], abs=1e-9)
    assert curve.cpr.mean == pytest.approx((1.5 + 2 * e) / 5)
    assert curve.cmd.mean == pytest.approx((3.5 - 2 * e) / 5)
    assert (curve.smallest(0.9), curve.smallest(1.1)) == (4, None)


def test_areas_are_trapezoids_of_the_curve(trained, generator):
    problem = trained("mean")
    curve = faithfulness_curve(problem, exact(problem), generator)
    f, x = curve.faithfulness.mean.numpy(), curve.sizes.numpy() / len(problem.graph.edges)
    assert curve.cpr.mean == pytest.approx(np.trapezoid(f, x))
    assert curve.cmd.mean == pytest.approx(np.trapezoid(np.abs(1 - f), x))
    assert curve.cpr.low < curve.cpr.mean < curve.cpr.high
    assert curve.left.tolist() == sorted(curve.left.tolist())
    assert bool((curve.left <= curve.sizes).all())


def test_faithfulness_is_a_ratio_of_means_bootstrapped_over_sequences(trained):
    """Against a loop that draws the same resamples."""
    problem = trained("resample")
    circuit = top_edges(exact(problem), 12)
    check = check_circuit(problem, circuit, torch.Generator().manual_seed(3), n_random=2)
    intact, empty, here = (
        x.numpy() for x in (problem.intact_costs(), problem.empty_costs(), problem.circuit_costs(circuit.keep))
    )
    generator = torch.Generator().manual_seed(3)
    gap_of(problem, generator)  # draws first
    counts = resamples(24, generator).numpy()
    found = sorted((c @ (empty - here)) / (c @ (empty - intact)) for c in counts)
    assert check.faithfulness.mean == pytest.approx((empty - here).mean() / (empty - intact).mean())
    assert (check.faithfulness.low, check.faithfulness.high) == pytest.approx(tuple(np.quantile(found, [0.025, 0.975])))
    assert check.faithfulness.low < check.faithfulness.mean < check.faithfulness.high


@pytest.mark.parametrize(("ablation", "n"), [("resample", 21), ("mean", 32), ("zero", 32)])
def test_some_of_a_trained_models_edges_carry_it_and_as_many_random_ones_do_not(trained, generator, ablation, n):
    """Of 42; chosen on some sequences, checked on others. How many are needed depends on the ablation."""
    choosing, checking = trained(ablation), trained(ablation)
    check = check_circuit(checking, top_edges(exact(choosing), n), generator, n_random=30)
    assert check.faithfulness.low > 0.9
    assert check.random is not None
    assert check.random.mean < 0.6
    assert check.p_value is not None
    assert check.p_value < 0.05
    assert check.complement.mean < 0.2


def test_on_a_trained_model_exact_effects_rank_better_than_weights_and_these_than_chance(trained, generator):
    problem = trained("resample")
    found = [method(problem, generator) for method in (exact, weight_norm, random_scores)]
    cpr = [faithfulness_curve(problem, scores, generator).cpr.mean for scores in found]
    assert cpr[0] > cpr[1] + 0.05
    assert cpr[1] > cpr[2]


def test_graphs_of_less_than_a_thousand_edges_are_measured_at_every_size_and_larger_ones_at_shares():
    assert default_sizes(999) == list(range(1000))
    assert default_sizes(10_000) == [0, *(round(share * 10_000) for share in MIB_SHARES)]


def test_percentiles_are_those_of_the_draws():
    draws = torch.arange(101, dtype=torch.float64)[:, None] / 100
    found = percentiles(torch.tensor([0.5], dtype=torch.float64), draws, 7, 0.9)
    assert (float(found.low[0]), float(found.high[0]), found.n) == (pytest.approx(0.05), pytest.approx(0.95), 7)


def test_where_shutting_every_edge_costs_nothing_there_is_no_circuit(generator):
    problem = problem_of(make("induction_k"), "zero")
    same = edge_problem(problem.weights, problem.tokens, problem.scored, corrupted=problem.tokens)
    with pytest.raises(
        InputError, match=r"shutting every edge costs 0 \[0, 0\] nats per token \(loss\): there is nothing"
    ):
        gap_of(same, generator)
    with pytest.raises(InputError, match="nothing for a circuit to carry"):
        faithfulness_curve(same, exact(same), generator)
    with pytest.raises(InputError, match="a model of another shape"):
        check_circuit(problem, circuit_of(Graph(1, 1), []), generator)
    with pytest.raises(InputError, match="sizes must ascend from 0 to all 19 edges"):
        faithfulness_curve(problem, exact(problem), generator, sizes=[1, 19])
