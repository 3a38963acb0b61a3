"""What a report says in words, for verdicts made up to be hard, and for models of other kinds."""

from dataclasses import replace

import pytest
import torch
from matplotlib.figure import Figure

from analyses.evidence import Claim, Evidence, Feeder, Kind, Measurement, Verdict
from analyses.loading import load_subject
from analyses.report import report_files
from analyses.report.blocks import listed
from analyses.report.context import Context
from analyses.report.example import example_of
from analyses.report.verdicts import evidence_cell, key_number, rows_of, short_name
from analyses.report.words import conclusion, model_in_words, other_findings
from interp.composition import token_table
from interp.weights import weights_of
from tests.report_pages import Made, make_report, save_handmade
from toy_models.checkpoint import save_checkpoint
from toy_models.config import TransformerConfig
from toy_models.training.seeds import generator_for
from toy_models.transformer import Transformer
from toy_models.vocabulary import byte_vocabulary

pytest_plugins = ("tests.reports",)


def measured(holds, name="prefix matching", value=0.9, **more):
    return Measurement(name, value, "at least 0.4", holds, low=value - 0.01, high=value + 0.01, **more)


def claim(role, behaviour=True, weights=True, causal=True, feeders=()):
    kinds: dict[Kind, object] = {"behaviour": behaviour, "weights": weights, "causal": causal}
    evidence = tuple(
        Evidence(kind, (measured(holds, f"number of {kind}"),) if holds != "missing" else ())
        for kind, holds in kinds.items()
    )
    return Claim(role, evidence, tuple(feeders))


def fed(head, channel, agree=True, note=""):
    return Feeder(head, channel, measured(True, "lost"), None, agree, note)


def texts(contested):
    return tuple(each.text for each in contested.contradictions)


def verdict(head, *claims):
    made = [c for c in claims if c.confidence is not None]
    role, confidence = (made[0].role, made[0].confidence) if made else ("none", None)
    return Verdict(head, role, confidence, "a summary", claims)


def concluded(report, *verdicts, skipped=()):
    report = replace(report, verdicts=verdicts, skipped=skipped)
    return conclusion(report), other_findings(report)


def test_the_surest_heads_come_first_with_all_that_feeds_them(induction_report):
    found = concluded(
        induction_report.report,
        verdict("L0H0", claim("previous-token", causal="missing")),
        verdict("L1H0", claim("induction", weights=None, feeders=[fed("L0H3", "K")])),
        verdict("L1H1", claim("induction", feeders=[fed("L0H0", "K"), fed("L0H2", "Q")])),
        verdict("L1H2", claim("induction")),
        verdict("L1H3", claim("induction", causal=False)),
    )
    assert found == (
        "3 heads are induction heads: L1H1 and L1H2 (strong), L1H0 (moderate); they are told which token stood before "
        "by L0H0 and L0H3 (K-composition) and where the earlier copy stands by L0H2 (Q-composition).",
        "induction: L1H3 (contested); previous-token: L0H0 (moderate)",
    )


def test_heads_whose_evidence_disagrees_are_not_called_induction_heads(induction_report):
    found = concluded(induction_report.report, verdict("L1H0", claim("induction", weights=False)))
    assert found == (
        "1 head behaves as an induction head, but the kinds of evidence disagree: L1H0 (contested).",
        "",
    )


def test_what_cannot_be_decided_is_said_to_be_so(induction_report):
    open_ = verdict("L1H0", claim("induction", behaviour=None))
    found, _ = concluded(induction_report.report, open_, verdict("L1H1", claim("anti-copying")))
    assert found == "No head reaches the criteria of an induction head; for L1H0 it cannot be decided."
    skipped, _ = concluded(induction_report.report, open_, skipped=("behaviour",))
    assert skipped == "No verdict: what the heads do on tokens was not measured."


def test_disagreements_name_the_number_that_breaks_its_rule_and_the_edges(induction_report):
    contested = claim("induction", weights=False, feeders=[fed("L0H0", "K", agree=False, note="not by weights")])
    assert texts(contested) == (
        "behaviour is for induction, but the weights evidence is against it: number of weights is 0.9, and the rule "
        "is: at least 0.4",
        "L0H0 by K-composition: not by weights",
    )
    assert texts(claim("induction", behaviour=False, weights=False)) == ()
    report = replace(induction_report.report, verdicts=(verdict("L1H0", contested),))
    row = rows_of(Context(report, induction_report.subject))[0]
    assert row.disagreements == texts(contested)
    assert row.confidence == "contested"


def test_a_disagreement_stands_in_the_page(induction_report, monkeypatch):
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **options: file.write(b"\x89PNG"))
    verdicts = (
        induction_report.report["L0H0"],
        verdict(
            "L1H0", claim("induction", weights=False, feeders=[fed("L0H0", "K", False, "the <b>weights</b> do not")])
        ),
    )
    report = replace(induction_report.report, verdicts=verdicts)
    made = Made(report, induction_report.subject, report_files(report, induction_report.subject))
    said = [each.text for each in made.all("p", "caution")]
    assert "Disagreement: L0H0 by K-composition: the <b>weights</b> do not." in said
    assert any(text.startswith("Disagreement: behaviour is for induction, but the weights evidence") for text in said)
    badges = {each.text for each in made.all("abbr", "badge")}
    assert badges == {"strong", "moderate", "weak", "contested"}


@pytest.mark.parametrize(
    ("holds", "status", "first"),
    [([True, False], "against", "b"), ([True, None], "undecided", "b"), ([True, True], "for", "a")],
)
def test_the_number_in_the_table_is_the_one_that_decides(holds, status, first):
    numbers = tuple(measured(each, name) for each, name in zip(holds, "ab", strict=True))
    cell = evidence_cell(Claim("induction", (Evidence("weights", numbers),)), "weights")
    assert (cell.status, cell.name) == (status, first)
    missing = evidence_cell(Claim("induction", ()), "weights")
    assert (missing.status, missing.pieces) == ("missing", ())


def test_the_highest_null_stands_beside_the_key_number():
    pieces = key_number(measured(True, nulls={"fresh tokens": 0.03, "shuffled pattern (exact)": 0.05}))
    assert [piece if isinstance(piece, str) else getattr(piece, "text", "interval") for piece in pieces] == [
        "0.900",
        " ",
        "interval",
        ", shuffled pattern ",
        "0.050",
    ]


def test_names_are_cut_at_their_first_aside_and_lists_end_in_and():
    assert short_name("loss on predictable tokens when removed (by mean)") == "loss on predictable tokens when removed"
    assert short_name("copying score of the full OV circuit, sum(λ)") == "copying score of the full OV circuit"
    assert short_name("the same, by zero") == "the same, by zero"
    assert [listed(list(words)) for words in ("", "a", "ab", "abc")] == ["", "a", "a and b", "a, b and c"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"positions": "rotary", "normalization": "RMS"}, "rotary positions; root-mean-square normalisation"),
        ({"positions": "shortformer", "learned_positions": False}, "; positions added to the inputs of queries and"),
        ({"n_layers": 1, "n_heads": 1, "d_mlp": 8}, "1 layer of 1 attention head, with MLPs of 8 GELU units"),
        ({"tied_embeddings": True, "smeared_keys": True, "biases": False}, "tied embeddings; smeared keys; no biases"),
    ],
)
def test_models_are_described_by_what_they_are(options, words):
    assert words in model_in_words(TransformerConfig(**options))


def test_a_model_of_text_is_shown_on_text_that_stands_there_twice(tmp_path):
    vocabulary = byte_vocabulary(bos=True)
    config = TransformerConfig(n_layers=1, n_heads=1, d_model=8, d_head=4, d_vocab=257, n_ctx=40)
    save_checkpoint(tmp_path, Transformer(config, generator_for(0, "weights")), {"vocabulary": vocabulary.to_dict()})
    example = example_of(load_subject(tmp_path), 0)
    assert vocabulary.decode(example.numbers[1:]) == 2 * "for item in ite"
    assert (example.numbers[0], example.source) == (0, "a snippet of 15 tokens twice over")
    short = replace(config, n_ctx=24)
    save_checkpoint(tmp_path, Transformer(short, generator_for(0, "weights")), {"vocabulary": vocabulary.to_dict()})
    assert vocabulary.decode(example_of(load_subject(tmp_path), 0).numbers[1:]) == 2 * "total = 0\n"


def test_a_head_that_follows_a_pointer_is_drawn_from_positions_to_positions(tmp_path, monkeypatch):
    drawn = {}

    def circuit_matrix(matrix, rows, columns, **options):
        drawn[options["title"]] = (matrix, list(rows))
        return Figure()

    monkeypatch.setattr("analyses.report.circuits.circuit_matrix", circuit_matrix)
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **options: file.write(b"\x89PNG"))
    made = make_report(save_handmade(tmp_path / "q", "induction_q"))
    matrix, rows = drawn["L1H0: where its query points, filled by L0H0 (QK)"]
    w = weights_of(made.subject.model)
    table = token_table(w, (0, 0), (1, 0), "Q", moved="position", other="position").dense() / w.attn_scale
    assert rows == [str(place) for place in range(34)]
    torch.testing.assert_close(matrix, (table - table.mean(1, keepdim=True)))
    assert (matrix[:20].argmax(1) == torch.arange(20) + 1).all()
    assert made.conclusion.endswith("it is told where the earlier copy stands by L0H0 (Q-composition).")
