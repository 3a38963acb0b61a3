"""Lenses as evidence: what each head brings, on models where it is known."""

from dataclasses import replace

import pytest

from analyses import tuned
from analyses.audit import audit
from analyses.audit import readable as measured
from interp.lens.by_head import FRESH, OTHERS
from interp.names import Head
from toy_models.config import TransformerConfig
from toy_models.handmade import make
from toy_models.training.seeds import generator_for
from toy_models.transformer import Transformer

pytest_plugins = ("tests.command_line", "tests.reports", "tests.handmade_audits")

INDUCTION = {
    "induction_k": [(1, 0)],
    "induction_q": [(1, 0)],
    "induction_both": [(1, 0), (1, 1)],
    "induction_smeared": [(0, 0)],
}


@pytest.mark.parametrize("name", INDUCTION)
def test_induction_heads_bring_the_answer_at_their_layer(handmade_audits, name):
    readable = handmade_audits[name].sources.readable
    assert sorted(readable.bringers) == INDUCTION[name]
    assert readable.lens.readable.point == f"blocks.{INDUCTION[name][0][0]}.hook_resid_post"


def test_a_head_that_brings_less_than_a_tenth_of_a_nat_is_not_named(handmade_audits):
    readable = handmade_audits["induction_both"].sources.readable
    whole = readable.lens.alone.interval
    little = replace(whole, mean=whole.mean / 100, low=whole.low / 100, high=whole.high / 100)
    alone = replace(readable.lens.alone, interval=little)
    assert replace(readable, lens=replace(readable.lens, alone=alone)).bringers == []


def test_measurements_of_a_head_inform_and_say_what_its_layer_did(handmade_audits):
    readable = handmade_audits["induction_both"].sources.readable
    beside, alone, share = readable.of(Head(1, 0))
    assert beside.informs
    assert alone.informs
    assert share.informs
    assert "logit lens (-2.77 before its layer, -9.22e-05 after)" in beside.name
    assert beside.value == pytest.approx(float(readable.lens.brought.score[1, 0]))
    assert beside.low <= beside.value <= beside.high
    assert alone.value > 2.5 > 0.1 > beside.value
    assert set(alone.nulls) == {FRESH, OTHERS}
    assert alone.nulls[FRESH] < 0
    assert share.value == pytest.approx(beside.value / readable.lens.rise[1].mean)
    assert len(readable.of(Head(0, 0))) == 2  # its layer brings nothing that could be shared


def test_they_stand_in_the_behaviour_evidence_of_induction_and_decide_nothing(handmade_audits):
    claim = handmade_audits["induction_k"]["L1H0"].claims[0]
    behaviour = next(each for each in claim.evidence if each.kind == "behaviour")
    shown = handmade_audits["induction_k"].sources.readable.of(Head(1, 0))
    assert all(measurement in behaviour.measurements for measurement in shown)
    assert all(measurement.holds is None for measurement in shown)
    assert behaviour.status == "for"


def test_an_untrained_model_has_no_head_that_brings_anything(untrained_audit):
    readable = untrained_audit.sources.readable
    assert readable.lens.readable.point is None
    assert readable.bringers == []
    assert readable.shares == {}
    assert untrained_audit.to_dict()["readable"]["no_tuned"] == "not asked for (--lens tuned)"


def test_a_head_that_copies_on_fresh_tokens_too_is_compared_with_that(handmade_audits):
    """On fresh tokens that recur by chance the same head speaks for wrong tokens: the null lies below 0."""
    lens = handmade_audits["induction_k"].sources.readable.lens
    assert float(lens.alone.nulls[FRESH][1, 0]) < -1 < float(lens.alone.interval.low[1, 0])


def test_a_model_too_large_is_not_read(monkeypatch):
    monkeypatch.setattr(measured, "MOST_LOGITS", 1000)
    report = audit(make("induction_k").model, bos=0)
    assert report.sources.readable is None
    assert report.to_dict()["readable"] is None
    assert report.heads("induction") == ["L1H0"]


def test_tuned_lens_stands_beside_the_logit_lens_where_it_was_asked_for(interp, induction, monkeypatch, tmp_path):
    monkeypatch.setattr(tuned, "TRAINING", 64)
    found = interp("audit", induction, "--lens", "tuned", "--no-report", "--json", "--out", tmp_path).json["readable"]
    assert found["tuned"]["readable"]["tuned"]["point"] == "blocks.1.hook_resid_post"
    assert found["tuned"]["brought_by"]["heads"] == ["L0H0", "L1H0"]
    assert found["no_tuned"] == ""


def test_where_no_tuned_lens_can_be_trained_the_reason_is_said():
    report = audit(Transformer(TransformerConfig(d_vocab=3, n_ctx=5), generator_for(0, "weights")), bos=0, tuned=True)
    assert "training sequences" in report.sources.readable.no_tuned
    assert report.sources.readable.tuned is None


def test_report_says_where_the_answer_becomes_readable_and_by_whom(induction_report):
    section = induction_report.section("lens")
    assert "By the logit lens the right token becomes readable at: after layer 1" in section
    assert "beside the others" in section
    found = induction_report.json["readable"]["logit"]
    assert found["readable"]["point"] == "blocks.1.hook_resid_post"
    assert found["brought"]["score"][1][0] == pytest.approx(2.727, abs=0.05)
