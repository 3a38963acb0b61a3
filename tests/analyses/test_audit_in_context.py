"""The in-context picture of an audit: models whose circuit is known, checkpoints whose phase change was planted."""

import math
from dataclasses import replace

import pytest

from analyses.audit import Criteria, audit
from analyses.audit import in_context as measured
from analyses.audit.development import MOST_CHECKPOINTS, NONE, measure_development, thinned
from analyses.audit.in_context import fresh_tokens, named_circuit, sets_for
from analyses.commands.audit_context import context_lines
from interp.heads import olsson_protocol, repeated_tokens
from interp.names import Head
from toy_models.checkpoint import checkpoint_folder, save_checkpoint
from toy_models.config import TransformerConfig
from toy_models.handmade import make
from toy_models.training.seeds import generator_for
from toy_models.transformer import Transformer

pytest_plugins = ("tests.reports", "tests.handmade_audits")

CIRCUITS = {
    "induction_k": (["L1H0"], ["L0H0"]),
    "induction_q": (["L1H0"], ["L0H0"]),
    "induction_smeared": (["L0H0"], []),
    "induction_both": (["L1H0", "L1H1"], ["L0H0", "L0H1"]),
}


@pytest.mark.parametrize("name", CIRCUITS)
def test_circuit_of_handmade_induction_is_the_true_one_and_carries_the_gain(handmade_audits, name):
    found = handmade_audits[name].in_context
    assert (found.circuit.to_dict()["induction"], found.circuit.to_dict()["feeders"]) == CIRCUITS[name]
    shares = found.carried.by["mean"]
    assert (shares.lost.mean, shares.kept.mean) == pytest.approx((1.0, 1.0), abs=0.01)
    assert found.carried.by["resample"].kept.mean == pytest.approx(1.0, abs=1e-6)


def test_score_gain_and_readers_of_handmade_induction_are_their_closed_forms(handmade_audits):
    found = handmade_audits["induction_k"].in_context
    late, early = math.log1p(15 * math.exp(-12)), math.log(2 * math.exp(6) + 14)
    assert found.score.score.mean == pytest.approx(late - early, abs=1e-9)
    # both readers: 8 different of 15 symbols; token 32 is the 7th of its block, token 3 the 2nd
    assert found.reader_score(found.readers.best) == pytest.approx(-math.log(14))
    assert found.reader_score(found.readers.order_free) == pytest.approx(math.log(2) - math.log(14))
    assert found.carried.gain.mean == pytest.approx(found.gain.mean, abs=1e-9)
    assert found.gain.mean > found.best_gain > found.order_free_gain > 1
    assert found.fresh_gain.high < 0.5


def test_an_untrained_model_gains_nothing_and_names_no_circuit(untrained_audit):
    found = untrained_audit.in_context
    assert found.score.score.low <= 0 <= found.score.score.high
    assert abs(found.gain.mean) < 0.05
    assert found.circuit.heads == ()
    assert found.carried is None
    assert found.reason == "no head is named in induction, confidence moderate or more"
    assert untrained_audit.to_dict()["in_context"]["carried"] is None


def test_a_circuit_has_the_heads_of_the_confidence_that_is_asked_for(handmade_audits):
    verdicts = handmade_audits["induction_k"].verdicts
    claim = verdicts[1].claims[0]
    assert claim.confidence == "strong"
    weaker = (verdicts[0], replace(verdicts[1], claims=(replace(claim, evidence=claim.evidence[:1]),)))
    assert named_circuit(weaker, Criteria(expect_confidence="weak")).heads == (Head(0, 0), Head(1, 0))
    assert named_circuit(weaker, Criteria(expect_confidence="moderate")).heads == ()
    assert named_circuit(verdicts, Criteria(expect_confidence="strong")).heads == (Head(0, 0), Head(1, 0))


def test_what_is_left_out_is_not_measured():
    model = make("induction_k").model
    assert audit(model, bos=0, skip=["behaviour"]).in_context is None
    without = audit(model, bos=0, skip=["causal"])
    assert without.in_context.carried is None
    assert without.in_context.reason == "causal evidence was left out"
    assert audit(model, bos=0, context=False).to_dict()["in_context"] is None


def test_the_picture_changes_no_verdict_and_no_other_number(handmade_audits):
    plain = audit(make("induction_both").model, bos=0, context=False).to_dict()
    full = handmade_audits["induction_both"].to_dict()
    readable = handmade_audits["induction_both"].sources.readable
    for verdict in full["verdicts"]:
        brought = {measurement.name for measurement in readable.of(Head.parse(verdict["head"]))}
        for claim in verdict["claims"]:
            behaviour = claim["evidence"]["behaviour"]
            behaviour["measurements"] = [m for m in behaviour["measurements"] if m["name"] not in brought]
    assert plain["verdicts"] == full["verdicts"]
    assert plain["measurements"] == full["measurements"]


def test_fresh_tokens_are_as_long_as_the_repeated_ones_and_all_differ_where_they_can(generator):
    protocol = olsson_protocol(64, 64, 0)
    rows = fresh_tokens(protocol, 5, generator)
    assert rows.shape == (5, protocol.length)
    assert all(len(set(row)) == protocol.length for row in rows.tolist())
    assert set(rows[:, 0].tolist()) == {0}
    few = fresh_tokens(olsson_protocol(16, 34, 3), 5, generator)
    assert set(few[:, 0].tolist()) == {3}
    assert 3 not in few[:, 1:]


def test_a_model_too_large_is_left_out_and_fewer_sets_are_tried_before(monkeypatch, handmade_audits):
    model, battery = make("induction_both").model, handmade_audits["induction_both"].battery
    assert sets_for(model, battery) == 40
    work = measured.work_of(model, battery)
    monkeypatch.setattr(measured, "MOST_WORK", 14 * work)
    assert sets_for(model, battery) == 7
    monkeypatch.setattr(measured, "MOST_WORK", 8 * work)
    assert sets_for(model, battery) == 0
    monkeypatch.setattr(measured, "MOST_WORK", work / 2)
    assert audit(model, bos=0).in_context is None


GAINS = {0: 0.0, 1: 0.0, 2: 0.0, 4: 0.1, 8: 0.1, 16: 12.0, 32: 12.0}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Checkpoints of a model whose induction head is silent until step 8, and full from step 16 on."""
    folder = tmp_path_factory.mktemp("run")
    for step, gain in GAINS.items():
        model = make("induction_k", gain=max(gain, 1e-3)).model
        save_checkpoint(checkpoint_folder(folder, step), model, {"step": step})
    return folder


@pytest.fixture
def tokens(generator):
    return repeated_tokens(olsson_protocol(16, 34, 0), 16, generator)


def test_phase_change_lies_between_the_checkpoints_where_induction_forms(run, tokens, generator):
    model = make("induction_k").model
    found = measure_development(run, model, tokens, generator, 0.95)
    assert found.steps == tuple(GAINS)
    assert (found.phase.before, found.phase.after) == found.between == (8, 16)
    full = math.log1p(15 * math.exp(-12)) - math.log(2 * math.exp(6) + 14)
    assert found.scores[6].mean == pytest.approx(full, abs=1e-9)
    assert found.phase.share.mean == pytest.approx(1.0, abs=0.05)
    # Losses of the steps before and after are two points: one component.
    assert float(found.trajectory.explained[0]) > 0.99
    # Without either head losses are nearly those of before.
    assert found.undone[0].mean == pytest.approx(1.0, abs=0.5)
    assert found.undone_rows(["L0H0", "L1H0"])[0][1].mean == max(found.undone.mean.tolist())
    assert measure_development(run, model, tokens, generator, 0.95, causal=False).undone is None


def test_a_run_in_which_nothing_forms_has_no_phase_change(tmp_path, tokens, generator):
    for step in (1, 2, 4):
        model = Transformer(TransformerConfig(d_vocab=16, n_ctx=34), generator_for(step, "weights"))
        save_checkpoint(checkpoint_folder(tmp_path, step), model, {"step": step})
    found = measure_development(tmp_path, model, tokens, generator, 0.95)
    assert (found.phase, found.undone, found.between) == (None, None, (1, 4))
    assert found.reason == ""


def test_where_there_are_no_checkpoints_the_reason_is_said(tmp_path, tokens, generator):
    model = make("induction_k").model
    assert measure_development(None, model, tokens, generator, 0.95).reason == NONE
    save_checkpoint(checkpoint_folder(tmp_path, 1), model, {"step": 1})
    assert measure_development(tmp_path, model, tokens, generator, 0.95).reason == "this run has a single checkpoint"
    save_checkpoint(checkpoint_folder(tmp_path, 2), model, {"step": 2})
    (checkpoint_folder(tmp_path, 2) / "model.safetensors").write_bytes(b"no")
    damaged = measure_development(tmp_path, model, tokens, generator, 0.95)
    assert "the checkpoints cannot be compared" in damaged.reason
    assert "step-00000002" in damaged.reason
    save_checkpoint(checkpoint_folder(tmp_path, 2), model, {})
    assert "its step must be a whole number" in measure_development(tmp_path, model, tokens, generator, 0.95).reason


def test_of_many_checkpoints_so_many_are_taken_first_and_last_among_them(tmp_path):
    folders = [tmp_path / str(i) for i in range(100)]
    kept = thinned(folders)
    assert len(set(kept)) == MOST_CHECKPOINTS
    assert (kept[0], kept[-1]) == (folders[0], folders[-1])
    assert kept == sorted(kept, key=folders.index)
    assert thinned(folders[:5]) == folders[:5]


def test_terminal_says_what_is_gained_and_which_share_the_circuit_carries(handmade_audits, untrained_audit):
    report = handmade_audits["induction_k"]
    text = " ".join(" ".join(context_lines(report.in_context, report.sources.readable)).split())
    assert "the loss at token 32 less that at token 3 is -6.71 [-6.71, -6.71] nats" in text
    assert "by counting alone -1.95" in text
    assert "without L0H0, L1H0: 1.00 [1.00, 1.00]; stays, with them alone: 1.00 [1.00, 1.00]; removed by mean" in text
    assert "Readable: the right token, by the logit lens: after layer 1, brought by L1H0." in text
    text = " ".join(" ".join(context_lines(untrained_audit.in_context, untrained_audit.sources.readable)).split())
    assert "No share of a circuit: no head is named in induction" in text
    assert "nowhere, since the model's own loss is not surely below" in text
    assert context_lines(None, None) == []


def test_report_shows_the_shares_of_the_circuit_beside_the_curve(induction_report, default_report):
    section = induction_report.section("in-context")
    assert "The circuit: L1H0, and what they read, L0H0." in section
    assert "by resample" in section
    assert f"How it formed cannot be told: {NONE}." in section
    assert induction_report.json["in_context"]["circuit"] == {"induction": ["L1H0"], "feeders": ["L0H0"]}
    assert induction_report.json["in_context"]["carried"]["by"]["mean"]["kept"]["mean"] == pytest.approx(1, abs=1e-6)
    assert "report-loss-by-position.png" in induction_report.pictures
    assert "is not asked: no head is named in induction" in default_report.section("in-context")
