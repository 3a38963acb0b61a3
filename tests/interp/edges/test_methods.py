"""Edge effects on models whose edges are known, and attribution against what it is the derivative of."""

import pytest
import torch

from interp.ablation import token_losses
from interp.edges import eap, eap_ig, edge_problem, exact, random_scores, recovery, run_graph, weight_norm
from interp.edges.graph_run import Nudge
from interp.errors import InputError
from interp.hooks import intervene, record
from interp.weights import weights_of
from tests.known_edges import MODELS, make, problem_of, true_edges
from tests.reference_transformer import random_model, random_tokens
from toy_models.config import TransformerConfig

CONFIG = TransformerConfig(
    n_layers=2, n_heads=2, d_model=8, d_head=4, d_vocab=11, n_ctx=9, positions="standard", normalization="LN"
)


def random_problem(ablation="resample", metric="loss", config=CONFIG, batch=3):
    model, tokens = random_model(config), random_tokens(config, batch)
    scored = (torch.arange(tokens.shape[1]) > 2).expand_as(tokens).clone()
    corrupted = random_tokens(config, batch, seed=2)
    weights = weights_of(model, fold=False)
    return model, edge_problem(weights, tokens, scored, metric=metric, ablation=ablation, corrupted=corrupted)


@pytest.mark.parametrize("ablation", ["zero", "mean"])
@pytest.mark.parametrize("name", MODELS)
def test_exact_effects_rank_every_true_edge_of_a_handmade_model_above_every_other(name, ablation):
    made = make(name)
    scores, true = exact(problem_of(made, ablation)), true_edges(made.truth)
    found = recovery(scores, true)
    assert found.auroc == 1.0
    assert found.average_precision == pytest.approx(1)
    others = [scores[edge] for edge in scores.graph.edges if edge not in true]
    assert max(map(abs, others)) < 1e-12


@pytest.mark.parametrize("name", ["induction_k", "induction_q"])
def test_the_edges_that_make_induction_cost_what_theory_says(name):
    """Shutting the feed leaves even attention; shutting what the logits read leaves ln(vocabulary)."""
    made = make(name)
    scores, truth = exact(problem_of(made)), made.truth
    intact, channel = truth.find("loss").value, truth.composition
    fed = truth.find("loss without", (0, 0)).value - intact
    assert scores[f"L0H0 -> L1H0.{channel}"] == pytest.approx(fed, abs=1e-6)
    assert scores["L1H0 -> logits"] == pytest.approx(truth.find("loss without", (1, 0)).value - intact, abs=1e-6)


def test_half_a_pointer_suffices_so_the_q_model_hardly_needs_positions_to_tell_itself_from_its_copy():
    """Two of its true edges are worth next to nothing: a head that attends to itself and the copy still points."""
    scores = exact(problem_of(make("induction_q")))
    for edge in ("position -> L0H0.Q", "position -> L0H0.K"):
        assert 0 < scores[edge] < 1e-6
    assert scores["token -> L0H0.Q"] > 1


@pytest.mark.parametrize("name", MODELS)
def test_with_resampled_tokens_edges_from_positions_are_worth_nothing_and_the_others_are_found(name):
    """The corrupted run has the same positions."""
    made = make(name)
    scores, true = exact(problem_of(made, "resample")), true_edges(made.truth)
    positions = [edge for edge in scores.graph.edges if edge.sender == "position"]
    assert [scores[edge] for edge in positions] == [0.0] * len(positions)
    found = recovery(scores, {edge for edge in true if edge.sender != "position"})
    assert found.auroc == 1.0


@pytest.mark.parametrize("normalization", ["none", "LN", "RMSPre"])
def test_an_exact_effect_is_what_a_hook_on_the_key_input_gives(normalization):
    config = TransformerConfig(**{**vars(CONFIG), "normalization": normalization})
    model, problem = random_problem("zero", config=config)
    z = record(model, problem.tokens, names="blocks.0.attn.hook_z")["blocks.0.attn.hook_z"]
    out = z[:, :, 1] @ model.blocks[0].attn.W_O[1]

    def without(value):
        value[:, :, 0] -= out
        return value

    with torch.no_grad(), intervene(model, {"blocks.1.hook_k_input": without}):
        losses = token_losses(model(problem.tokens), problem.tokens)
    costs = (losses * problem.scored).sum(1) / problem.scored.sum(1)
    scores = exact(problem)
    effect = (costs - problem.intact_costs()).detach()
    assert scores["L0H1 -> L1H0.K"] == pytest.approx(float(effect.mean()), abs=1e-9)
    assert abs(scores["L0H1 -> L1H0.K"]) > 1e-4
    assert scores.samples is not None
    assert torch.allclose(scores.samples[:, scores.graph.find("L0H1 -> L1H0.K")], effect.double())


@pytest.mark.parametrize("metric", ["loss", "logit difference"])
@pytest.mark.parametrize("ablation", ["resample", "mean", "zero"])
def test_eap_is_minus_the_derivative_by_the_mask(ablation, metric):
    _, problem = random_problem(ablation, metric)
    scores, step, edge = eap(problem), 1e-5, "L0H1 -> L1H0.K"
    masks = problem.ones()
    masks[scores.graph.find(edge)] -= step
    slope = float((problem.costs(masks) - problem.intact_costs()).mean()) / step
    assert scores[edge] == pytest.approx(slope, abs=1e-4)


def test_the_costs_are_those_written_out_for_one_sequence():
    for metric in ("loss", "logit difference", "kl"):
        _, problem = random_problem("resample", metric)
        changed = problem.costs(problem.ones() / 2)
        logits, _ = run_graph(problem.weights, problem.graph, problem.start, problem.ones() / 2, problem.others)
        found = []
        for i in range(3, 7):  # tokens 3 to 6 are scored, each predicted one position before
            here, intact, right = logits[1, i - 1], problem.logits[1, i - 1], problem.tokens[1, i]
            p, q = intact.softmax(-1), here.softmax(-1)
            others = (here.sum() - here[right]) / 10
            values = {
                "loss": -q[right].log(), "logit difference": others - here[right], "kl": (p * (p / q).log()).sum()
            }  # fmt: skip
            found.append(float(values[metric]))
        assert float(changed[1]) == pytest.approx(sum(found) / 4, abs=1e-9)
        assert float(problem.intact_costs()[1]) != pytest.approx(float(changed[1]), abs=1e-3)


def test_where_the_cost_is_linear_attribution_is_exact():
    """Without normalisation the logits are linear in what the unembedding reads, and so is their difference."""
    config = TransformerConfig(**{**vars(CONFIG), "normalization": "none"})
    _, problem = random_problem("resample", "logit difference", config)
    found = [method(problem) for method in (exact, eap)]
    into_logits = [i for i, edge in enumerate(problem.graph.edges) if edge.channel == "logits"]
    assert torch.allclose(found[0].value[into_logits], found[1].value[into_logits], atol=1e-10)
    # The difference of all edges into the logits is the whole difference of the two runs.
    assert float(found[0].value[into_logits].sum()) == pytest.approx(
        float((problem.empty_costs() - problem.intact_costs()).mean()), abs=1e-9
    )


@pytest.mark.parametrize("ablation", ["resample", "mean", "zero"])
@pytest.mark.parametrize("positions", ["standard", "shortformer", "rotary"])
def test_edges_from_the_embeddings_sum_to_the_whole_effect_in_integrated_gradients(positions, ablation):
    config = TransformerConfig(**{**vars(CONFIG), "positions": positions, "normalization": "none"})
    model = random_model(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 0.6  # smooth enough for few steps
    tokens, corrupted = random_tokens(config, 3), random_tokens(config, 3, seed=2)
    scored = (torch.arange(7) > 2).expand_as(tokens).clone()
    problem = edge_problem(weights_of(model, fold=False), tokens, scored, ablation=ablation, corrupted=corrupted)
    low = problem.others.first(problem.graph.n_embeddings)
    low = low.combine(problem.start, lambda a, b: a.expand_as(b))
    whole = float((problem.costs(start=low) - problem.intact_costs()).mean())
    embedded = [i for i, edge in enumerate(problem.graph.edges) if edge.sender in ("token", "position")]
    errors = [abs(float(eap_ig(problem, steps=steps).value[embedded].sum()) - whole) for steps in (8, 64)]
    assert errors[1] < 1e-3 * max(1.0, abs(whole))
    assert errors[1] < errors[0] / 16  # midpoints: 8 times the steps, 64 times the accuracy


def test_with_nothing_corrupted_no_edge_is_worth_anything():
    _, problem = random_problem()
    same = edge_problem(problem.weights, problem.tokens, problem.scored, corrupted=problem.tokens)
    for method in (exact, eap, eap_ig):
        assert float(method(same).value.abs().max()) < 1e-12
        assert float(method(problem).value.abs().max()) > 0.01


def test_integrated_gradients_take_the_gradient_on_the_way_and_the_difference_at_the_ends():
    """One step: the gradient half-way between the embeddings, times out - other of the whole runs, by differences."""
    _, problem = random_problem("resample")
    edge, step = "L0H1 -> L1H0.K", 1e-5
    half = problem.others.first(2).combine(problem.start, lambda a, b: (a + b) / 2)

    def nudged(size):
        sizes = torch.zeros(3, len(problem.graph.edges), dtype=torch.float64)
        sizes[:, problem.graph.find(edge)] = size
        return float(problem.costs(start=half, nudge=Nudge(sizes, problem.changes)).mean())

    slope = (nudged(-step) - nudged(step)) / (2 * step)
    assert eap_ig(problem, steps=1)[edge] == pytest.approx(slope, abs=1e-8)
    assert abs(eap_ig(problem, steps=1)[edge] - eap(problem)[edge]) > 1e-3


def test_saturated_attention_hides_edges_from_eap_but_not_from_integrated_gradients():
    made = make("induction_k")
    problem, feed = problem_of(made), "L0H0 -> L1H0.K"
    assert exact(problem)[feed] > 2
    assert abs(eap(problem)[feed]) < 1e-9
    assert eap_ig(problem)[feed] > 0.3


def test_integrated_gradients_find_the_edges_of_the_k_model_and_chance_does_not(generator):
    made = make("induction_k")
    problem, true = problem_of(made), true_edges(made.truth)
    assert recovery(eap_ig(problem), true).auroc == 1.0
    drawn = [recovery(random_scores(problem, generator), true).auroc for _ in range(200)]
    assert sum(drawn) / len(drawn) == pytest.approx(0.5, abs=0.03)


def test_the_weight_norm_is_the_ratio_of_norms_written_out():
    _, problem = random_problem(config=TransformerConfig(**{**vars(CONFIG), "normalization": "none", "d_mlp": 6}))
    scores, w = weight_norm(problem), problem.weights
    assert w.W_in is not None
    OV, QK = w.W_V[0, 1] @ w.W_O[0, 1], w.W_Q[1, 0] @ w.W_K[1, 0].T
    pairs = {
        "L0H1 -> L1H0.Q": (OV, QK),
        "L0H1 -> L1H0.K": (OV, QK.T),
        "token -> L1H1.V": (w.W_E, w.W_V[1, 1] @ w.W_O[1, 1]),
        "L0 MLP -> L1H0.Q": (w.W_out[0], QK),
        "L1H0 -> L1 MLP": (w.W_V[1, 0] @ w.W_O[1, 0], w.W_in[1]),
        "position -> logits": (w.W_pos, w.W_U),
    }
    for edge, (A, B) in pairs.items():
        assert scores[edge] == pytest.approx(float((A @ B).norm() / (A.norm() * B.norm())), abs=1e-12)


def test_weights_cannot_tell_which_edges_tokens_use():
    """A head that is wired as before and writes next to nothing keeps its feed, by its weights."""
    made = make("induction_both")
    problem, feed = problem_of(made), "L0H0 -> L1H0.K"
    with torch.no_grad():
        made.model.blocks[1].attn.W_O[0].mul_(1e-9)
    quiet = problem_of(made)
    assert weight_norm(quiet)[feed] == pytest.approx(weight_norm(problem)[feed]) != 0
    assert abs(exact(quiet)[feed]) < 1e-6 < 0.05 < exact(problem)[feed]


def test_scores_are_the_mean_of_their_sequences_with_an_interval_that_holds_it(generator):
    _, problem = random_problem(batch=6)
    for method in (exact, eap, eap_ig):
        scores = method(problem)
        assert scores.samples is not None
        assert torch.allclose(scores.samples.mean(0), scores.value)
        found = scores.intervals(generator)
        assert bool(((found.low <= scores.value) & (scores.value <= found.high)).all())
    with pytest.raises(InputError, match="random gives no score for each sequence"):
        random_scores(problem, generator).intervals(generator)


def test_the_ablation_is_part_of_every_result(generator):
    for ablation in ("resample", "mean", "zero"):
        _, problem = random_problem(ablation)
        for method in (exact, eap, eap_ig, random_scores, weight_norm):
            assert f"({ablation})" in method(problem, generator).to_dict()["protocol"]


def test_what_cannot_be_a_problem_is_refused():
    _, problem = random_problem()
    w, tokens, scored = problem.weights, problem.tokens, problem.scored
    with pytest.raises(InputError, match="resampling needs corrupted tokens"):
        edge_problem(w, tokens, scored)
    with pytest.raises(InputError, match=r"corrupted tokens must be \[3, 7\] like the tokens, got \[2, 7\]"):
        edge_problem(w, tokens, scored, corrupted=tokens[:2])
    with pytest.raises(InputError, match="position 0 cannot be scored"):
        edge_problem(w, tokens, torch.ones_like(scored), ablation="zero")
    some = scored.clone()
    some[0] = False
    with pytest.raises(InputError, match="every sequence needs a scored token"):
        edge_problem(w, tokens, some, ablation="zero")
    with pytest.raises(InputError, match="a mean over sequences needs at least two"):
        edge_problem(w, tokens, scored, ablation="mean", reference=tokens[:1])
    with pytest.raises(InputError, match="the KL is flat at the intact model"):
        eap(random_problem(metric="kl")[1])
    with pytest.raises(InputError, match="at least 1 step, got 0"):
        eap_ig(problem, steps=0)
    with pytest.raises(InputError, match=r"an edge is written as 'L0H0 -> L1H0\.K', got 'L0H0'"):
        exact(problem)["L0H0"]
    with pytest.raises(InputError, match="no node 'L5H0' writes in this model; there are token, position, L0H0"):
        exact(problem)["L5H0 -> logits"]
    with pytest.raises(InputError, match=r"L0H0.K cannot read L1H0: it is not written before"):
        exact(problem)["L1H0 -> L0H0.K"]
    empty = TransformerConfig(n_layers=0, d_vocab=11, n_ctx=9)
    with pytest.raises(InputError, match="no attention layers"):
        edge_problem(weights_of(random_model(empty), fold=False), tokens, scored, ablation="zero")
