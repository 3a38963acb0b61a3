"""Diffs of models whose difference is known: none, an order of heads, a mechanism, heads that one of them lacks."""

import json
from dataclasses import replace

import pytest
import torch

from analyses.audit import AuditReport, Criteria, audit
from analyses.audit.plan import Plan
from analyses.diff import diff_audits
from analyses.diff.text import text
from analyses.output import strict_json
from interp.errors import InputError
from interp.names import Head
from toy_models import handmade
from toy_models.config import TransformerConfig
from toy_models.handmade.transforms import add_idle_heads, add_noise, permute_heads
from toy_models.transformer import Transformer

L0H0, L1H0 = Head(0, 0), Head(1, 0)


def of(name, **options):
    return audit(handmade.make(name).model, bos=0, **options)


@pytest.fixture(scope="module")
def k_model():
    return of("induction_k")


@pytest.fixture(scope="module")
def q_model():
    return of("induction_q")


@pytest.fixture(scope="module")
def mixed():
    """A model whose six heads all do something else."""
    config = TransformerConfig(n_layers=2, n_heads=3, d_model=24, d_head=8, d_vocab=16, n_ctx=34, init_range=0.6)
    return Transformer(config, torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def its_audit(mixed):
    return audit(mixed, bos=0)


def test_a_model_with_its_heads_in_another_order_is_matched_with_itself(mixed, its_audit):
    order = torch.tensor([[2, 0, 1], [1, 2, 0]])
    diff = diff_audits(its_audit, audit(permute_heads(mixed, order), bos=0))
    forth = {pair.before: pair.after for pair in diff.pairs}
    assert forth == {Head(layer, int(order[layer, i])): Head(layer, i) for layer in (0, 1) for i in range(3)}
    assert {pair.distance for pair in diff.pairs} == {0}
    assert {pair.kind for pair in diff.pairs} == {"alike"}  # heads with random weights look like one another
    assert not any(pair.differing for pair in diff.pairs)
    assert diff.gained == diff.lost == diff.unmatched_before == diff.unmatched_after == {}
    assert "No difference" in text(diff)


def test_the_circuit_of_a_model_with_its_heads_in_another_order_is_kept(k_model):
    made = add_idle_heads(handmade.make("induction_k").model)
    diff = diff_audits(k_model, audit(permute_heads(made, torch.tensor([[1, 0], [1, 0]])), bos=0))
    assert diff.circuits.kept == ((L0H0, "K", L1H0),)
    assert diff.circuits.lost == diff.circuits.gained == ()
    assert "kept    L0H0 to L1H0 (K), now L0H1 to L1H1 (K)" in text(diff)
    assert list(diff.unmatched_after) == [L0H0, L1H0]  # the idle ones


def test_another_seed_of_the_audit_is_no_difference():
    model = add_noise(handmade.make("induction_k").model, 0.15, torch.Generator().manual_seed(0))
    first, second = audit(model, bos=0, seed=0), audit(model, bos=0, seed=1)
    spread = [s.interval.high - s.interval.low for s in first.battery.scores.values()]
    assert max(float(width.max()) for width in spread) > 0.01  # or there would be no noise to tell from a difference
    diff = diff_audits(first, second)
    assert [(pair.before, pair.after, pair.kind) for pair in diff.pairs] == [(h, h, "same") for h in (L0H0, L1H0)]
    assert not any(pair.differing for pair in diff.pairs)
    assert diff.notes == ("the audits' seeds differ: 0 before, 1 after",)


def test_an_induction_head_that_works_by_another_mechanism_is_the_same_head(k_model, q_model):
    diff = diff_audits(k_model, q_model)
    induction = diff["L1H0"]
    assert (induction.after, induction.kind) == (L1H0, "matched")
    assert [r[0].mechanism for r in (induction.roles_before, induction.roles_after)] == [
        "K-composition",
        "Q-composition",
    ]
    assert "induction (K) +1 → induction (Q) +1" in text(diff)
    assert diff["L0H0"].kind == "chance"  # a previous-token head is no duplicate-token head
    assert diff.lost == {"previous-token": (L0H0,)}
    assert diff.gained == {"duplicate-token": (L0H0,)}
    assert diff.circuits.lost == ((L0H0, "K", L1H0),)
    assert diff.circuits.gained == ((L0H0, "Q", L1H0),)


def test_scores_that_differ_are_named_with_the_difference_that_was_built_in(k_model, q_model):
    changed = {change.name: change for change in diff_audits(k_model, q_model)["L0H0"].differing}
    assert changed["previous_token"].difference.mean == pytest.approx(-1, abs=1e-6)
    assert changed["duplicate_token"].difference.mean == pytest.approx(1, abs=1e-6)
    assert "prefix_matching" not in changed


def test_induction_in_another_layer_is_found_and_a_head_that_is_gone_has_no_counterpart(k_model):
    diff = diff_audits(k_model, of("induction_smeared"))
    assert [(pair.before, pair.after) for pair in diff.pairs] == [(L1H0, L0H0)]
    assert list(diff.unmatched_before) == [L0H0]
    assert diff.lost == {"previous-token": (L0H0,)}
    assert diff.circuits.lost == ((L0H0, "K", L1H0),)


def test_what_training_would_bring_is_gained(k_model):
    config = handmade.make("induction_k").model.config
    untrained = audit(Transformer(replace(config, init_range=0.02), torch.Generator().manual_seed(0)), bos=0)
    diff = diff_audits(untrained, k_model)
    assert diff.gained["induction"] == (L1H0,)
    assert diff.gained["previous-token"] == (L0H0,)
    assert diff.lost == {}
    assert next(pair for pair in diff.pairs if pair.after == L1H0).kind == "chance"
    loss = next(whole for whole in diff.wholes if whole.name == "loss on predictable tokens")
    assert loss.before == pytest.approx(loss.chance[0], abs=0.3)
    assert loss.after == pytest.approx(0, abs=1e-3)


def test_what_the_whole_models_gain_in_context_is_set_side_by_side(k_model, q_model):
    """Both gain the same from the earlier copy; only the pointer model tells positions apart on fresh tokens."""
    wholes = {whole.name: whole for whole in diff_audits(k_model, q_model).wholes}
    gain = wholes["in-context gain"]
    assert gain.before == k_model.in_context.gain
    assert gain.after == q_model.in_context.gain
    assert gain.difference.mean == pytest.approx(0, abs=1e-6)
    assert not gain.differs
    kept = wholes["gain kept by them alone"]
    assert (kept.before.mean, kept.after.mean) == pytest.approx((1, 1), abs=1e-3)
    said = {line.split("  ")[0].strip(): line for line in text(diff_audits(k_model, q_model)).splitlines()}
    assert said["in-context gain, fresh tokens"].endswith("differs")
    assert not said["in-context gain"].endswith("differs")


def test_a_report_from_disk_compares_as_the_audit_that_it_is_of(k_model, q_model, tmp_path):
    for name, report in (("k", k_model), ("q", q_model)):
        (tmp_path / name).write_text(strict_json(report.to_dict()))
    from_files = diff_audits(tmp_path / "k", tmp_path / "q").to_dict()
    in_memory = diff_audits(k_model, q_model).to_dict()
    for each in (from_files, in_memory):
        del each["before"]["name"], each["after"]["name"]
    assert strict_json(from_files) == strict_json(in_memory)


def test_models_on_other_vocabularies_and_audits_by_other_criteria_are_compared_with_a_note(k_model):
    other = audit(handmade.make("induction_k", d_vocab=24, n_ctx=40).model, bos=0, criteria=Criteria(pattern_mass=0.45))
    diff = diff_audits(k_model, other)
    said = " ".join(diff.notes)
    assert "measured on other sequences" in said
    assert "pattern_mass 0.4 and 0.45" in said
    assert [(pair.before, pair.after) for pair in diff.pairs] == [(L0H0, L0H0), (L1H0, L1H0)]


def test_scores_that_one_audit_lacks_are_named_and_the_others_compared(k_model, tmp_path):
    document = json.loads(strict_json(k_model.to_dict()))
    del document["measurements"]["heads"]["scores"]["before_copy"]
    document["measurements"]["heads"]["scores"]["copying"]["interval"]["mean"][1][0] = None
    (tmp_path / "report.json").write_text(json.dumps(document))
    diff = diff_audits(tmp_path / "report.json", k_model)
    assert any("has no before copy" in note for note in diff.notes)
    compared = {str(pair.before): {change.name for change in pair.changes} for pair in diff.pairs}
    assert "before_copy" not in compared["L0H0"]
    assert "copying" in compared["L0H0"]
    assert "copying" not in compared["L1H0"]  # not finite there
    assert diff["L1H0"].kind == "same"


def test_an_audit_without_causal_evidence_is_compared_by_the_rest(k_model):
    diff = diff_audits(of("induction_k", skip=("causal",)), k_model)
    assert not {"loss on predictable tokens", "gain kept by them alone"} & {whole.name for whole in diff.wholes}
    assert any("has no causal evidence" in note for note in diff.notes)
    assert {pair.kind for pair in diff.pairs} == {"same"}


def test_an_audit_within_a_budget_is_compared_with_a_note_on_what_it_left_out(k_model):
    (note,) = diff_audits(k_model, of("induction_k", plan=Plan(candidates=2))).notes
    assert note.startswith("what was left out to keep within a budget differs: nothing before, causal evidence, ")


def test_an_audit_without_behaviour_cannot_be_compared(k_model):
    with pytest.raises(InputError, match="audited without behaviour"):
        diff_audits(of("induction_k", skip=("behaviour",)), k_model)


def test_neither_audit_is_changed(k_model, q_model):
    before = [strict_json(report.to_dict()) for report in (k_model, q_model)]
    diff_audits(k_model, q_model)
    assert [strict_json(report.to_dict()) for report in (k_model, q_model)] == before
    assert isinstance(k_model, AuditReport)
