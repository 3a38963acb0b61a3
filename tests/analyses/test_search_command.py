"""`interp search`: finds the circuit that was put in, checks it as hooks on the model do, and says no in one line."""

from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure

from analyses.arguments import Search
from analyses.commands import search as command
from analyses.loading import load_subject
from interp.ablation import token_losses
from interp.edges import METHODS, Edge, edge_problem, exact
from interp.heads import Protocol, olsson_protocol, repeated_tokens
from interp.heads.stimuli import fresh_control
from interp.weights import weights_of
from tests.edge_twin import logits_by_hooks
from tests.known_edges import make, true_edges
from toy_models import handmade
from toy_models.checkpoint import save_checkpoint
from toy_models.vocabulary import Vocabulary

pytest_plugins = ("tests.command_line",)

PNG = b"\x89PNG"
TRUE = true_edges(handmade.make("induction_k").truth)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Figures are made but not drawn, few random circuits."""
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **options: file.write(PNG))
    for name, value in {"SEQUENCES": 6, "RANDOM_CIRCUITS": 8, "RANDOM_RANKINGS": 2}.items():
        monkeypatch.setattr(command, name, value)


def circuit_in(called):
    return {Edge.parse(edge) for edge in called.json["check"]["circuit"]["edges"]}


@pytest.mark.parametrize("method", ["exact", "greedy", "eap", "eap-ig", "weights"])
def test_the_handmade_circuit_is_found_with_and_without_positions(interp, induction, tmp_path, method):
    def found(ablation):
        words = ["--json", "--out", tmp_path, "--method", method, "--ablation", ablation, "--faithfulness", 0.999]
        return circuit_in(interp("search", induction, *words))

    assert found("zero") == TRUE
    without_positions = {edge for edge in TRUE if edge.sender != "position"}
    assert without_positions <= found("resample") <= TRUE


def test_the_faithfulness_is_that_of_the_model_run_with_everything_else_ablated_by_hooks(interp, induction, tmp_path):
    called = interp("search", induction, "--json", "--out", tmp_path, "--edges", 6, "--method", "eap", "--seed", 4)
    subject = load_subject(induction)
    weights = weights_of(subject.model, fold=False)
    protocol = olsson_protocol(16, 34, bos=0)
    options, generator = Search(model=induction, method="eap"), torch.Generator().manual_seed(4)
    _, (checking, _) = (command.problem(weights, protocol, options, generator) for _ in range(2))
    kept = circuit_in(called)
    others = dict(zip(checking.graph.senders, checking.others.senders, strict=True))

    def loss(edges):
        masks = {edge: float(edge in edges) for edge in checking.graph.edges}
        logits = logits_by_hooks(subject.model, checking.graph, checking.tokens, masks, others)
        values = token_losses(logits, checking.tokens) * checking.scored
        return float((values.sum(1) / checking.scored.sum(1)).mean())

    everything = set(checking.graph.edges)
    whole, none = loss(everything), loss(set())
    check = called.json["check"]
    assert check["intact loss"]["mean"] == pytest.approx(whole, abs=1e-9)
    assert check["ablated loss"]["mean"] == pytest.approx(none, abs=1e-9)
    for name, edges in (("faithfulness", kept), ("complement", everything - kept)):
        assert check[name]["mean"] == pytest.approx((loss(edges) - none) / (whole - none), abs=1e-9)
    for edge in kept:
        lost = (loss(kept - {edge}) - loss(kept)) / (none - whole)
        assert check["necessity"][str(edge)]["mean"] == pytest.approx(lost, abs=1e-9)
    assert 0 < len(kept) <= 6


@pytest.mark.parametrize(("name", "channel"), [("induction_k", "K"), ("induction_q", "Q")])
def test_what_resampling_puts_in_has_another_block_and_no_repetition(name, channel):
    """With the same block the keys that a K model looks at stay as they are, with a repetition the pointers of a Q
    model: either way the edge that induction rests on would be worth nothing."""
    made = make(name)
    weights, generator = weights_of(made.model, fold=False), torch.Generator().manual_seed(0)
    protocol, feed = Protocol(2, 10, d_vocab=32, bos=0), f"L0H0 -> L1H0.{channel}"
    found, _ = command.problem(weights, protocol, Search(model=Path("here")), generator)
    assert exact(found)[feed] > 2
    same_block = fresh_control(found.tokens, protocol, generator).tokens
    repeated = repeated_tokens(protocol, len(found.tokens), generator)
    blind = {"K": same_block, "Q": repeated}[channel]
    worth = exact(edge_problem(weights, found.tokens, found.scored, corrupted=blind))[feed]
    assert worth == pytest.approx(0, abs=1e-9)


def test_json_holds_the_ablation_the_metric_every_score_and_the_controls(interp, induction, tmp_path):
    called = interp("search", induction, "--json", "--out", tmp_path, "--ablation", "mean", "--metric", "kl")
    found = called.json
    assert (found["ablation"], found["metric"], found["unit"]) == ("mean", "kl", "nats per token")
    assert "(mean)" in found["check"]["protocol"]
    assert set(map(Edge.parse, found["edge_scores"]["scores"])) >= TRUE
    assert len(found["edge_scores"]["scores"]) == found["edges"] == 19
    assert found["check"]["random"]["n"] == 8
    assert found["check"]["p_value"] == pytest.approx(1 / 9)
    assert found["curve"]["sizes"] == list(range(20))
    assert len(found["random_rankings"]) == 2
    assert found["largest_logit_difference_to_the_model"] < 1e-9
    assert sorted(found["files"]) == ["search-curve.png", "search.json", "search.png"]
    assert {path.name for path in tmp_path.iterdir()} == set(found["files"])


def test_text_shows_the_check_the_edges_and_the_curve_within_98_columns(interp, induction, tmp_path):
    called = interp("search", induction, "--out", tmp_path, "--ablation", "zero", "--method", "exact")
    assert (called.code, called.err) == (0, "")
    lines = called.out.split("\n\nwrote ")[0].splitlines()
    assert max(map(len, lines)) <= 98
    assert called.row("faithfulness:")[4] == "1.000"
    assert called.row("the", "other")[4] == "0.000"
    assert called.row("token", "->", "L1H0.V")[4] == "1.000"
    assert "shut edges carry nothing (zero)" in " ".join(called.out.split())
    assert "cannot be found this way" not in called.out
    resampled = interp("search", induction, "--out", tmp_path)
    assert "edges from positions cannot be found this way" in " ".join(resampled.out.split())


def test_a_threshold_and_a_number_of_edges_choose_the_circuit(interp, induction, tmp_path):
    words = ["search", induction, "--json", "--out", tmp_path, "--ablation", "zero", "--method", "exact"]
    assert circuit_in(interp(*words, "--threshold", 1)) == TRUE
    assert circuit_in(interp(*words, "--edges", 7)) == TRUE
    assert circuit_in(interp(*words, "--threshold", 6)) == set()  # positions alone lead nowhere
    greedy = interp("search", induction, "--json", "--out", tmp_path, "--ablation", "zero", "--method", "greedy")
    assert "tau = " in greedy.json["edge_scores"]["protocol"]


def test_the_same_seed_gives_the_same_output_and_another_seed_another(interp, induction, tmp_path):
    words = ["search", induction, "--json", "--out", tmp_path, "--method", "random", "--edges", 15]
    first, again, other = (interp(*words, "--seed", seed).json for seed in (1, 1, 2))
    assert first == again
    assert first["edge_scores"] != other["edge_scores"]


def test_with_too_few_tokens_for_fresh_ones_every_token_is_drawn_by_itself(interp, tmp_path):
    made = handmade.make("induction_k", d_vocab=7)
    save_checkpoint(tmp_path / "m", made.model, {"vocabulary": Vocabulary(made.labels, 0, "symbols").to_dict()})
    called = interp("search", tmp_path / "m", "--json", "--out", tmp_path / "out")
    assert "every token drawn by itself" in called.json["tokens"]
    assert called.json["check"]["faithfulness"]["mean"] > 0.9


def test_the_command_line_offers_every_method():
    import typing

    hints = typing.get_type_hints(Search)
    assert set(typing.get_args(hints["method"])) == set(METHODS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--edges", 3, "--threshold", 1], "--edges and --threshold exclude each other: give one of them"),
        (["--faithfulness", 0.5, "--edges", 3], "--edges and --faithfulness exclude each other"),
        (["--edges", 0], "--edges must be at least 1, got 0"),
        (["--edges", 20], "the graph has 19 edges, so a circuit has 0 to 19 of them, got 20"),
        (["--steps", 0], "--steps must be at least 1, got 0"),
        (["--threshold", "nan"], "--threshold must be a number above 0, got nan"),
        (["--faithfulness", 1.01], "no circuit of the best edges reaches a faithfulness of 1.01"),
        (["--method", "eap", "--metric", "kl"], "the KL is flat at the intact model"),
        (["--method", "acdc"], "invalid choice"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(interp, induction, tmp_path, words, message):
    called = interp("search", induction, "--out", tmp_path / "out", *words)
    assert (called.code, called.out) == (2, "")
    assert message in called.err
    assert called.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_model_that_does_nothing_with_the_repetition_has_no_circuit(interp, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "eap_ig", pytest.fail)  # said before any work
    monkeypatch.setattr(command, "SEQUENCES", 24)
    called = interp("search", tiny, "--out", tmp_path / "out")
    assert called.code == 2
    assert "there is nothing for a circuit to carry" in called.err
    assert not (tmp_path / "out").exists()
