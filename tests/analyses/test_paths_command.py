"""`interp paths` on models whose circuit is known: what it prints and writes is what they were built to do."""

import json
import math

import pytest
import torch
from matplotlib.figure import Figure

from analyses.commands import paths as paths_command
from analyses.loading import load_subject
from interp.heads import olsson_protocol, predictable_positions, repeated_tokens
from interp.paths import logit_paths, term_importance
from tests.report_pages import save_handmade
from toy_models.checkpoint import save_checkpoint
from toy_models.config import TransformerConfig
from toy_models.transformer import Transformer

pytest_plugins = ("tests.command_line",)

PNG = b"\x89PNG"
SHARPNESS, GAIN = 40.0, 12.0
OPTIONS = {"positional": {"period": 8}}  # that of the sequences that the command draws


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """Figures are made but not drawn."""
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **options: file.write(PNG))


@pytest.fixture
def paths(interp, tmp_path):
    """Calls the command on a folder, or on a handmade model by name, and gives its JSON."""

    def call(model, *words):
        folder = model if hasattr(model, "exists") else save_handmade(tmp_path / model, model, **OPTIONS.get(model, {}))
        called = interp("paths", folder, "--json", "--out", tmp_path / "out", *words)
        assert called.code == 0, called.err
        return called.json

    return call


@pytest.fixture
def deep(tmp_path):
    """Three layers of one head with large random weights, whose chains all carry something."""
    config = TransformerConfig(n_layers=3, n_heads=1, d_model=12, d_head=6, d_vocab=12, n_ctx=24, init_range=0.5)
    save_checkpoint(tmp_path / "deep", Transformer(config, seeded(1)))
    return tmp_path / "deep"


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def parts(rows, name):
    """Mean of each row, by its name."""
    return {row[name]: row["mean"] for row in rows}


def near(expected):
    return {name: pytest.approx(value, abs=1e-4) for name, value in expected.items()}


@pytest.mark.parametrize("name", ["induction_k", "induction_q"])
def test_single_heads_carry_the_whole_loss_of_both_induction_models(paths, name):
    terms = paths(name)["terms"]
    whole = math.log(16)
    assert terms["uniform_loss"] == pytest.approx(whole)
    assert terms["losses"]["mean"] == pytest.approx([whole, 9.2e-5, 9.2e-5], abs=1e-5)
    assert terms["steps"]["mean"] == pytest.approx([0, -whole, 0], abs=1e-4)
    assert terms["head_paths"]["mean"] == [[pytest.approx(0, abs=1e-6)], [pytest.approx(-whole, abs=1e-4)]]


def test_the_virtual_head_carries_the_whole_loss_of_the_two_back_model(paths):
    found = paths("two_back")
    protocol_predicts = found["terms"]["steps"]["mean"]
    assert found["terms"]["pairs"] == [["L0H0", "L1H0"]]
    assert found["terms"]["pair"]["mean"] == pytest.approx([protocol_predicts[2]], abs=1e-4)
    assert protocol_predicts[1] == pytest.approx(0, abs=1e-4)
    strongest = found["logit"]["paths"][0]
    assert (strongest["source"], strongest["heads"]) == ("token", ["L0H0", "L1H0"])


def test_the_right_logit_of_the_induction_model_is_one_path_and_that_of_another_sequence_is_not(paths):
    logit = paths("induction_k")["logit"]
    first = logit["paths"][0]
    relative = GAIN * (1 - 1 / 16)
    assert first["path"] == "token → L1H0"
    assert (first["mean"], first["low"], first["high"]) == pytest.approx((relative,) * 3, abs=1e-3)
    assert [row["mean"] for row in logit["paths"][1:]] == pytest.approx([0] * (logit["n_paths"] - 1), abs=1e-3)
    assert logit["sum"]["mean"] == pytest.approx(relative, abs=1e-3)
    assert first["to_another_sequences_token"]["high"] < 1
    assert logit["complete"]
    assert logit["error"] < 1e-6
    assert abs(logit["remainder"]) < 1e-4


@pytest.mark.parametrize(
    ("name", "head", "kind", "earlier"),
    [
        ("induction_k", "L1H0", "K", ["L0H0"]),
        ("induction_q", "L1H0", "Q", ["L0H0"]),
        ("induction_shared", "L1H0", "K", ["L0H0", "L0H1"]),
        ("positional", "L1H0", "direct", []),
        ("induction_smeared", "L0H0", "direct", []),
    ],
)
def test_the_contrast_is_carried_by_what_the_model_was_built_from(paths, name, head, kind, earlier):
    scores = paths(name, "--head", head, "--scores")["scores"]
    kinds, contrast = parts(scores["kinds"], "kind"), scores["contrast"]["mean"]
    assert contrast > 10
    assert kinds == near(dict.fromkeys(["direct", "Q", "K", "both"], 0.0) | {kind: contrast})
    assert scores["shares"] == near(dict.fromkeys(["direct", "Q", "K", "both"], 0.0) | {kind: 1.0})
    carried = {(row["earlier"], row["side"]) for row in scores["carried"] if abs(row["mean"]) > 1}
    assert carried == {(each, kind) for each in earlier}
    assert sum(row["mean"] for row in scores["carried"]) == pytest.approx(contrast if earlier else 0, abs=1e-3)
    assert scores["error"] < 1e-5


def test_the_contrast_of_the_k_model_is_its_sharpness_with_nothing_left_on_fresh_tokens(paths):
    scores = paths("induction_k", "--head", "1.0", "--scores")["scores"]
    assert scores["contrast"]["mean"] == pytest.approx(SHARPNESS, abs=1e-3)
    first = scores["terms"][0]
    assert (first["query"], first["key"]) == ("token", "token → L0H0")
    assert first["mean"] == pytest.approx(SHARPNESS, abs=1e-3)
    assert scores["null"] < SHARPNESS / 10
    assert "renamed by a cyclic shift" in scores["null_text"]


def test_a_positional_head_keeps_its_contrast_on_fresh_tokens(paths):
    scores = paths("positional", "--head", "L1H0", "--scores")["scores"]
    assert scores["null"] == pytest.approx(scores["contrast"]["mean"], rel=1e-3)
    assert (scores["terms"][0]["query"], scores["terms"][0]["key"]) == ("position", "position")


def test_a_head_of_the_first_layer_is_said_to_have_direct_paths_only(interp, induction, tmp_path):
    words = ("--head", "L0H0", "--scores", "--target", "previous")
    called = interp("paths", induction, "--out", tmp_path, *words)
    assert "first layer, so that nothing but direct paths lead into it" in called.out.replace("\n", " ")
    assert called.row("contrast")[1] == called.row("direct")[6] == "40.000"
    scores = json.loads((tmp_path / "paths.json").read_text())["scores"]
    assert scores["carried"] == []
    assert (scores["target"], scores["null"]) == ("previous", None)
    assert 0 < scores["random_keys_deviation"] < 1


@pytest.mark.parametrize(
    ("name", "head", "target"),
    [("duplicate_token", "L0H0", "duplicate"), ("first_token_sink", "L0H0", "first"), ("two_back", "L1H0", "previous")],
)
def test_every_target_finds_the_head_that_was_built_for_it(paths, name, head, target):
    right = paths(name, "--head", head, "--scores", "--target", target)["scores"]
    others = [
        paths(name, "--head", head, "--scores", "--target", other)["scores"]["contrast"]["mean"]
        for other in {"induction", "duplicate", "first", "previous"} - {target}
    ]
    assert right["contrast"]["low"] > 5
    assert right["contrast"]["mean"] > 2 * max(others)


def test_the_command_draws_its_sequences_as_the_lens_and_finds_what_the_library_finds(paths, tiny):
    found = paths(tiny)
    model, protocol = load_subject(tiny).model, olsson_protocol(12, 24, 0)
    tokens, scored = repeated_tokens(protocol, 32, seeded()), predictable_positions(protocol, 32)
    expected = term_importance(model, tokens, seeded(), scored)
    assert found["source"] == f"32 sequences: {protocol.text}"
    assert found["terms"]["losses"]["mean"] == pytest.approx(expected.losses.mean.tolist(), abs=1e-6)
    assert found["terms"]["head_alone"]["mean"][1] == pytest.approx(expected.head_alone.mean[1].tolist(), abs=1e-6)
    assert len(found["terms"]["pairs"]) == len(found["terms"]["pair"]["mean"]) == 4
    mean = logit_paths(model, tokens).mean(seeded(), scored[:, 1:])
    assert parts(found["logit"]["paths"], "path") == near({str(path): each.mean for path, each in mean.items()})
    sizes = [abs(row["mean"]) for row in found["logit"]["paths"]]
    assert sizes == sorted(sizes, reverse=True)
    assert found["logit"]["logit"]["mean"] == pytest.approx(found["logit"]["sum"]["mean"], abs=1e-4)


def test_paths_that_are_left_out_are_counted_as_missing(paths, interp, tiny, tmp_path):
    whole, cut = paths(tiny)["logit"], paths(tiny, "--order", 1)["logit"]
    assert {len(row["heads"]) for row in cut["paths"]} == {0, 1}
    chains = sum(row["mean"] for row in whole["paths"] if len(row["heads"]) == 2)
    assert cut["remainder"] == pytest.approx(chains, abs=1e-5)
    assert (cut["complete"], whole["complete"]) == (False, True)
    printed = interp("paths", tiny, "--order", 1, "--out", tmp_path).out.replace("\n", " ")
    assert "Longer paths were left out (--order)" in printed


def test_score_paths_that_are_left_out_are_counted_as_missing(paths, deep):
    whole, cut = (paths(deep, "--head", "L2H0", "--scores", *more)["scores"] for more in ((), ("--order", "1")))
    longer = sum(row["mean"] for row in whole["chains"] if max(len(row["query"]), len(row["key"])) > 1)
    assert abs(longer) > 1e-2
    assert cut["missing"] == pytest.approx(longer, abs=1e-5)
    assert (cut["complete"], whole["complete"]) == (False, True)


def test_what_an_edge_carries_is_what_came_through_its_earlier_head_last(paths, deep):
    scores = paths(deep, "--head", "L2H0", "--scores")["scores"]
    for earlier in ("L0H0", "L1H0"):
        for side, name in (("Q", "query"), ("K", "key")):
            found = [row["mean"] for row in scores["carried"] if (row["earlier"], row["side"]) == (earlier, side)]
            expected = sum(row["mean"] for row in scores["chains"] if row[name][-1:] == [earlier])
            assert abs(expected) > 1e-3
            assert found == [pytest.approx(expected, abs=1e-5)]


def test_a_head_has_the_paths_and_virtual_heads_that_run_through_it(paths, tiny):
    whole, one = paths(tiny)["logit"], paths(tiny, "--head", "0.1")
    expected = {row["path"]: row["mean"] for row in whole["paths"] if "L0H1" in row["heads"]}
    assert parts(one["logit"]["paths"], "path") == near(expected)
    assert one["logit"]["sum"]["mean"] == pytest.approx(sum(expected.values()), abs=1e-4)
    assert one["terms"]["pairs"] == [["L0H1", "L1H0"], ["L0H1", "L1H1"]]
    assert one["files"] == ["paths-L0H1-logit.png", "paths.json"]


def test_a_given_sequence_has_logit_terms_without_intervals_and_no_terms_of_a_loss(interp, tiny, tmp_path):
    called = interp("paths", tiny, "--out", tmp_path, "--tokens", 0, 3, 5, 3)
    found = json.loads((tmp_path / "paths.json").read_text())
    tokens = torch.tensor([[0, 3, 5, 3]])
    with torch.no_grad():
        logits = load_subject(tiny).model(tokens)[0, :3]
    target = (logits - logits.mean(-1, keepdim=True))[[0, 1, 2], [3, 5, 3]].mean()
    assert found["logit"]["sum"]["mean"] == pytest.approx(float(target), abs=1e-4)
    assert {row["low"] for row in found["logit"]["paths"]} == {None}
    assert (found["terms"], found["tokens"]) == (None, [0, 3, 5, 3])
    assert "no interval" in called.out
    assert "interval  to another" not in called.out
    assert "leave out --text" in called.out.replace("\n", " ")


def test_the_scores_of_a_given_sequence_are_those_of_the_model(interp, paths, induction, tmp_path):
    words = ("--tokens", 0, 1, 2, 3, 1, "--head", "L1H0", "--scores")
    scores = paths(induction, *words)["scores"]
    assert parts(scores["kinds"], "kind") == near({"direct": 0, "Q": 0, "K": SHARPNESS, "both": 0})
    assert scores["contrast"]["low"] is None
    assert scores["null"] is None
    called = interp("paths", induction, "--out", tmp_path, *words)
    assert "of one sequence, so that there is no interval" in called.out.replace("\n", " ")
    assert called.row("part") == ["part", "score", "share"]
    assert called.row("contrast") == ["contrast", "40.000", "100%"]


def test_text_shows_the_numbers_of_its_json(interp, tiny, tmp_path):
    called = interp("paths", tiny, "--out", tmp_path, "--top", 2)
    found = json.loads((tmp_path / "paths.json").read_text())
    terms, first = found["terms"], found["logit"]["paths"][0]
    assert called.row("direct", "path")[2] == f"{terms['losses']['mean'][0]:.3f}"
    assert float(called.row("single", "heads")[5]) == pytest.approx(terms["steps"]["mean"][1], abs=6e-4)
    assert float(called.row("L1H0")[4]) == pytest.approx(terms["head_given_others"]["mean"][1][0], abs=6e-4)
    row = called.row(*first["path"].split())
    other = first["to_another_sequences_token"]
    assert row[-6:] == [
        *(f"{first['mean']:.3f}", f"[{first['low']:.3f},", f"{first['high']:.3f}]"),
        *(f"{other['mean']:.3f}", f"[{other['low']:.3f},", f"{other['high']:.3f}]"),
    ]
    assert "The 2 strongest of 4 virtual heads" in called.out


def test_models_of_every_kind_are_exact(interp, tmp_path):
    common = {"n_heads": 2, "d_model": 12, "d_head": 4, "d_vocab": 12, "n_ctx": 24, "init_range": 0.3}
    kinds = [
        {"n_layers": 3, "positions": "rotary", "normalization": "RMS"},
        {"n_layers": 2, "positions": "shortformer", "d_mlp": 16, "normalization": "LN"},
        {"n_layers": 1, "positions": "none", "smeared_keys": True},
    ]
    for index, changes in enumerate(kinds):
        folder = tmp_path / str(index)
        save_checkpoint(folder, Transformer(TransformerConfig(**common, **changes), seeded()))
        found = interp("paths", folder, "--json", "--out", tmp_path / "out")
        assert found.code == 0, found.err
        assert found.json["logit"]["error"] < 1e-4
        last = f"L{changes['n_layers'] - 1}H1"
        scores = interp("paths", folder, "--json", "--out", tmp_path / "out", "--head", last, "--scores").json["scores"]
        assert scores["error"] < 1e-4
        total = sum(row["mean"] for row in scores["kinds"])
        assert total == pytest.approx(scores["contrast"]["mean"], abs=1e-4)


def test_a_model_of_one_layer_has_no_virtual_heads(interp, tmp_path):
    called = interp("paths", save_handmade(tmp_path / "m", "previous_token"), "--out", tmp_path / "out")
    assert called.code == 0
    assert "One layer: there are no virtual heads." in called.out


def test_a_bar_of_progress_appears_on_standard_error_where_pairs_take_long(interp, tiny, monkeypatch, tmp_path):
    monkeypatch.setattr(paths_command, "DELAY", 0.0)
    called = interp("paths", tiny, "--json", "--out", tmp_path)
    assert "virtual heads" in called.err
    assert "0/4" in called.err
    assert called.json["terms"]["pairs"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--scores"], "--scores needs the head"),
        (["--head", "L1H0", "--target", "first"], "--target says which keys --scores sets against the others"),
        (["--head", "L2H0"], "L2H0 is in layer 2, the model has layers 0 to 1"),
        (["--head", "0.9", "--scores"], "head 9, a layer of this model has heads 0 to 1"),
        (["--head", "first"], "no head is called 'first'"),
        (["--top", 0], "--top must be at least 1, got 0"),
        (["--order", -1], "--order must be at least 0, got -1"),
        (["--tokens", 4], "a single token, which nothing follows"),
        (
            ["--tokens", 1, 2, 3, "--head", "L1H0", "--scores"],
            "no query has a target (what followed earlier copies of the present token)",
        ),
        (["--head", "L1H0", "--scores", "--target", "last"], "--target"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(interp, tiny, tmp_path, words, message):
    called = interp("paths", tiny, "--out", tmp_path / "out", *words)
    assert (called.code, called.out) == (2, "")
    assert message in called.err
    assert called.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_more_paths_than_the_memory_holds_are_refused_with_the_option_that_helps(interp, tmp_path):
    config = TransformerConfig(n_layers=8, n_heads=8, d_model=16, d_head=2, d_vocab=12, n_ctx=24)
    save_checkpoint(tmp_path / "m", Transformer(config))
    called = interp("paths", tmp_path / "m", "--out", tmp_path / "out")
    assert (called.code, called.err.count("\n")) == (2, 1)
    assert "GB" in called.err
    assert "order=" in called.err
