"""Audits of bridges: mechanism, feeders, virtual heads and every other number are those of the same model natively."""

import math

import pytest
import torch

from analyses.audit import audit
from analyses.audit.plan import Plan
from tests.analyses.test_audit_virtual import two_feeders
from toy_models.bridge import to_bridge
from toy_models.handmade import make

SIZE = {"d_vocab": 12, "n_ctx": 24}
MODELS = {"induction": lambda: make("induction_both", **SIZE).model, "two feeders": two_feeders}
"""The first has a head that does induction by K- and one that does it by Q-composition, each with its feeder."""


@pytest.fixture(scope="module")
def audits():
    """`audits(name)`: of the model, and of a bridge around the same weights."""
    made = {}

    def both(name):
        if name not in made:
            model = MODELS[name]().float()
            made[name] = [audit(each, bos=0, context=False) for each in (model, to_bridge(model))]
        return made[name]

    return both


def numbers(report):
    """Every measurement of every claim, by head, role, kind and name."""
    return {
        (verdict.head, claim.role, evidence.kind, measurement.name): (measurement.value, measurement.holds)
        for verdict in report.verdicts
        for claim in verdict.claims
        for evidence in claim.evidence
        for measurement in evidence.measurements
    }


@pytest.mark.parametrize("name", MODELS)
def test_a_bridge_gets_every_verdict_and_number_of_the_model_itself(audits, name):
    native, bridge = audits(name)
    assert [str(v.summary) for v in bridge.verdicts] == [str(v.summary) for v in native.verdicts]
    expected, found = numbers(native), numbers(bridge)
    assert found.keys() == expected.keys()
    for key, (value, holds) in expected.items():
        assert found[key][1] == holds, key
        assert found[key][0] == pytest.approx(value, abs=2e-4, rel=1e-3, nan_ok=True), key


@pytest.mark.parametrize(
    "head, mechanism, channel, fed_by", [("L1H0", "K-composition", "K", "L0H0"), ("L1H1", "Q-composition", "Q", "L0H1")]
)
def test_the_mechanism_and_the_feeder_of_a_handmade_induction_head_are_found_behind_a_bridge(
    audits, head, mechanism, channel, fed_by
):
    claim = audits("induction")[1][head].having("induction")
    assert (claim.confidence, claim.mechanism) == ("strong", mechanism)
    (feeder,) = claim.feeders
    assert (feeder.head, feeder.channel, feeder.agree) == (fed_by, channel, True)
    assert feeder.causal.value > 0.9


def test_the_pairs_of_virtual_heads_are_found_behind_a_bridge(audits):
    native, bridge = (report.sources.virtual.pairs for report in audits("two feeders"))
    assert [(str(pair.earlier), str(pair.later)) for pair in bridge] == [("L0H0", "L1H0"), ("L0H1", "L1H0")]
    for pair, expected in zip(bridge, native, strict=True):
        assert pair.moved.mean == pytest.approx(expected.moved.mean, abs=1e-4)
        assert pair.effect.mean == pytest.approx(expected.effect.mean, abs=1e-4)


def test_within_a_budget_few_earlier_heads_are_tried_and_the_mechanism_stays(audits):
    model = MODELS["induction"]().float()
    report = audit(to_bridge(model), bos=0, plan=Plan(sequences=8, candidates=4, feeders=2))
    found = report["L1H0"].having("induction")
    assert found.mechanism == audits("induction")[0]["L1H0"].having("induction").mechanism == "K-composition"
    feeding = next(iter(report.sources.causal.feedings.values()))
    assert len({loss.earlier for loss in feeding.losses}) == 2
    assert feeding.effects.channels["K"].loss is None
    assert feeding.left_out == 0
    assert any("feeders among 2 earlier heads only" in text for text in report.plan.left_out)


def test_where_the_feeder_was_not_tried_the_report_says_so():
    """One of the two earlier heads is tried, for both induction heads: it feeds one of them."""
    report = audit(to_bridge(MODELS["induction"]().float()), bos=0, plan=Plan(sequences=8, candidates=4, feeders=1))
    assert [feeding.left_out for feeding in report.sources.causal.feedings.values()] == [1, 1]
    notes = [note for verdict in report.verdicts for claim in verdict.claims for note in claim.notes]
    assert sum("1 earlier heads were not tried by themselves" in note for note in notes) == 1


def test_where_attention_cannot_be_computed_anew_the_audit_says_so_and_goes_on(monkeypatch):
    monkeypatch.setattr("interp.ablation.head_inputs.window_of", lambda *_: 3)
    report = audit(to_bridge(make("induction_k", **SIZE).model.float()), bos=0, context=False)
    verdict = report["L1H0"]
    assert (verdict.role, verdict.claims[0].mechanism) == ("induction", "not identified")
    (note,) = (note for note in verdict.claims[0].notes if "which earlier head it reads" in note)
    assert "cannot be measured: what single heads read is changed by computing their attention anew" in note
    assert not report.sources.virtual.pairs
    assert "it attends in a way that its weights do not show" in report.sources.virtual.why_not
    assert math.isfinite(report.sources.causal.effects.loss)
    assert torch.isfinite(report.battery["prefix_matching"].score).all()
