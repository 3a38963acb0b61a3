"""The report's sections on paths: what carries the loss, and what tells induction heads where to look."""

import math
from dataclasses import replace

import pytest
from matplotlib.figure import Figure

from analyses.audit import audit
from analyses.loading import load_subject
from analyses.paths.scores import score_parts
from analyses.report import scores, terms
from analyses.report.context import Context
from analyses.report.numbers import shown
from analyses.report.score_evidence import carried
from interp.names import Head
from tests.report_pages import make_report, save_handmade
from toy_models.checkpoint import save_checkpoint
from toy_models.config import TransformerConfig
from toy_models.training.seeds import generator_for
from toy_models.transformer import Transformer

pytest_plugins = ("tests.reports",)


@pytest.fixture
def undrawn(monkeypatch):
    """Figures are made but not drawn."""
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **options: file.write(b"\x89PNG"))


def context_of(folder, name, **options):
    subject = load_subject(save_handmade(folder / name, name))
    return Context(audit(subject, **options), subject)


def in_one_line(text):
    return " ".join(text.split())


def test_single_heads_carry_the_loss_of_the_handmade_induction_model(induction_report):
    found = induction_report.json["page"]["terms"]
    whole = math.log(16)
    assert found["uniform_loss"] == pytest.approx(whole)
    assert found["steps"]["mean"] == pytest.approx([0, -whole, 0], abs=1e-3)
    assert found["head_paths"]["mean"][1] == pytest.approx([-whole], abs=1e-3)
    assert f"no path (even guessing){shown(whole)}" in induction_report.section("terms").replace("\n", "")
    assert "report-terms.png" in induction_report.json["page"]["figures"]


def test_the_induction_heads_score_is_said_to_be_k_composition_with_the_previous_token_head(induction_report):
    found = induction_report.json["page"]["scores"]["L1H0"]
    kinds = {row["kind"]: row["mean"] for row in found["kinds"]}
    assert kinds["K"] == pytest.approx(40, abs=1e-2) == found["contrast"]["mean"]
    assert [kinds[kind] for kind in ("direct", "Q", "both")] == pytest.approx([0, 0, 0], abs=1e-2)
    text = in_one_line(induction_report.section("scores"))
    assert "L1H0: of a contrast of 40.0 [40.0, 40.0], 40.0 [40.0, 40.0] is K-composition; " in text
    assert "K through L0H0 (previous-token) gives 40.0." in text
    assert "report-scores.png" in induction_report.json["page"]["figures"]


def test_the_query_of_the_pointer_model_is_said_to_carry_its_score(undrawn, tmp_path):
    made = make_report(save_handmade(tmp_path / "pointer", "induction_q"))
    contrast = made.json["page"]["scores"]["L1H0"]["contrast"]["mean"]
    text = in_one_line(made.section("scores"))
    assert f"L1H0: of a contrast of {shown(contrast)} [" in text
    assert f"is Q-composition; Q through L0H0 (duplicate-token) gives {shown(contrast)}." in text


def test_what_is_carried_is_the_part_of_the_contrast_that_an_edge_brings(tmp_path):
    edges = carried(context_of(tmp_path, "induction_shared"))
    assert set(edges) == {(Head(0, i), Head(1, 0), side) for i in (0, 1) for side in ("K", "Q")}
    first, second = edges[Head(0, 0), Head(1, 0), "K"], edges[Head(0, 1), Head(1, 0), "K"]
    assert first.mean == pytest.approx(20, abs=1e-2)
    assert second.mean == pytest.approx(20, abs=1e-2)
    assert [edges[Head(0, i), Head(1, 0), "Q"].mean for i in (0, 1)] == pytest.approx([0, 0], abs=1e-2)
    assert first.low <= first.mean <= first.high


def test_scores_are_taken_apart_once_for_all_sections_and_on_the_batterys_tokens(tmp_path, monkeypatch):
    context, calls = context_of(tmp_path, "induction_k"), []

    def counted(runs, head, *rest):
        calls.append((runs.sample.tokens, head))
        return score_parts(runs, head, *rest)

    monkeypatch.setattr("analyses.report.context.score_parts", counted)
    scores.section(context)
    carried(context)
    terms.section(context)
    ((tokens, head),) = calls
    assert head == Head(1, 0)
    assert context.report.battery is not None
    assert tokens.tolist() == context.report.battery.tokens.tolist()


def test_without_behaviour_terms_are_on_the_same_tokens_and_scores_are_said_to_be_missing(undrawn, induction_report):
    subject = induction_report.subject
    context = Context(audit(subject, skip=("behaviour", "causal")), subject)
    assert context.report.battery is None
    battery = induction_report.report.battery
    assert context.sample.tokens.tolist() == battery.tokens.tolist()
    assert context.sample.text == f"32 sequences: {battery.protocol.text}"
    assert terms.section(context).values["losses"] == induction_report.json["page"]["terms"]["losses"]
    (block,) = scores.section(context).blocks
    assert "--skip behaviour" in block.text
    assert carried(context) == {}


def test_a_model_without_such_heads_has_no_score_to_take_apart(default_report):
    assert default_report.json["page"].get("scores") is None
    assert "no such score to take apart" in default_report.section("scores")
    assert len(default_report.json["page"]["terms"]["pairs"]) == 16


def test_a_one_layer_induction_head_has_direct_paths_only(undrawn, tmp_path):
    made = make_report(save_handmade(tmp_path / "smeared", "induction_smeared"))
    assert "needs no earlier head." in in_one_line(made.section("scores"))
    assert made.json["page"]["scores"]["L0H0"]["carried"] == []
    assert "one layer, and so no virtual heads" in made.section("terms")


def test_tables_keep_to_the_strongest_of_many_heads(undrawn, tmp_path):
    config = TransformerConfig(n_layers=3, n_heads=6, d_model=12, d_head=2, d_vocab=12, n_ctx=24)
    save_checkpoint(tmp_path / "wide", Transformer(config, generator_for(0, "weights")))
    text = in_one_line(make_report(tmp_path / "wide").section("terms"))
    assert "The 16 strongest of 18." in text
    assert "The 16 strongest of 108." in text
    assert "chains of 3 (the model)" in text


def test_a_contrast_that_may_be_0_is_not_explained(tmp_path):
    context = context_of(tmp_path, "induction_k")
    found = score_parts(context.runs, Head(0, 0), context.generator())
    words = "".join(str(getattr(piece, "text", piece)) for piece in scores.in_words(context, found))
    assert found.contrast.low < 0
    assert words.startswith(f"L0H0: a contrast of {shown(found.contrast.mean)} ")
    assert words.endswith(", not above 0 for sure.")


def test_shares_leave_out_rounding_and_are_missing_where_parts_have_different_signs(tmp_path):
    context = context_of(tmp_path, "induction_k")
    found = context.score_parts[Head(1, 0)]

    def with_q(value):
        parts = {**found.kinds.estimates, "Q": replace(found.kinds.estimates["Q"], mean=value)}
        return replace(found, kinds=replace(found.kinds, estimates=parts)).shares

    assert with_q(-1e-5) == {"direct": 0, "Q": 0, "K": 1, "both": 0}
    assert with_q(10.0)["Q"] == pytest.approx(0.2, abs=1e-4)
    assert with_q(-10.0) is None
