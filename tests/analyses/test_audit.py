"""The audit gives every handmade model the roles it was made with, and calls no decoy an induction head."""

from dataclasses import replace

import pytest
import torch

from analyses.audit import Criteria, audit
from analyses.audit.within import verdicts_of
from interp.errors import InputError
from interp.names import Head
from interp.weights.shape import shape_of
from toy_models.config import TransformerConfig
from toy_models.handmade import make
from toy_models.handmade.transforms import change_basis
from toy_models.handmade.variants import with_heads_permuted
from toy_models.transformer import Transformer

SIZE = {"d_vocab": 32, "n_ctx": 48}
"""Large enough for several repeats and periods; the tests stay quick."""


@pytest.fixture(scope="module")
def reports():
    """Audits of handmade models, each made once."""
    made = {}

    def report(name, **options):
        key = (name, tuple(sorted(options.items())))
        if key not in made:
            made[key] = audit(make(name, **SIZE, **options).model, bos=0)
        return made[key]

    return report


@pytest.mark.parametrize(
    "name, heads, feeders",
    [
        ("induction_k", {"L1H0"}, {("L0H0", "K")}),
        ("induction_q", {"L1H0"}, {("L0H0", "Q")}),
        ("induction_shared", {"L1H0"}, {("L0H0", "K"), ("L0H1", "K")}),
        ("induction_smeared", {"L0H0"}, set()),
    ],
)
def test_handmade_induction_heads_are_found_with_the_heads_that_feed_them(reports, name, heads, feeders):
    report = reports(name)
    assert set(report.heads("induction", "strong")) == heads
    found = {(f.head, f.channel) for head in heads for f in report[head].claims[0].feeders}
    assert found == feeders


def test_k_and_q_composition_are_told_apart_in_one_model(reports):
    report = reports("induction_both")
    fed = {head: [(f.head, f.channel) for f in report[head].claims[0].feeders] for head in ("L1H0", "L1H1")}
    assert fed == {"L1H0": [("L0H0", "K")], "L1H1": [("L0H1", "Q")]}


@pytest.mark.parametrize(
    "name", ["induction_k", "induction_q", "duplicate_token", "previous_token", "first_token_sink", "anti_copying"]
)
def test_every_head_of_a_handmade_model_gets_the_role_it_was_made_with(reports, name):
    truth = make(name, **SIZE).truth
    given = {(v.head): v.role for v in reports(name).verdicts}
    assert given == {f"L{layer}H{index}": role for (layer, index), role in truth.roles.items()}


@pytest.mark.parametrize(
    "name, head, role",
    [
        ("literal_current", "L1H0", "prefix-matching"),
        ("no_copy", "L1H0", "prefix-matching"),
        ("literal_previous", "L1H0", "duplicate-token"),
        ("anti_copying", "L1H0", "anti-copying"),
    ],
)
def test_decoys_are_called_what_they_are(reports, name, head, role):
    assert reports(name)[head].role == role


@pytest.mark.parametrize(
    "name",
    [
        "literal_current",
        "literal_previous",
        "no_copy",
        "anti_copying",
        "positional",
        "unread_previous_token",
        "two_back",
        "random_weights",
        "untrained",
    ],
)
def test_no_decoy_or_control_has_an_induction_head_at_any_confidence(reports, name):
    report = reports(name)
    assert all(claim.role != "induction" for verdict in report.verdicts for claim in verdict.claims)


def test_a_positional_head_passes_one_period_and_fails_the_others():
    """The decoy looks 14 back, which is prefix matching at period 15 only."""
    report = audit(make("positional", d_vocab=64, n_ctx=64, period=15).model, bos=0)
    prefix = report.battery["prefix_matching"]
    assert report.battery.protocol.period == 15
    assert float(prefix.score[1, 0]) > 0.9
    assert float(prefix.nulls["fresh tokens"][1, 0]) > 0.9
    measured = report.sources.behaviour.matches_prefixes(Head(1, 0))
    assert [m.holds for m in measured] == [True, False, False]  # mass, margin over nulls, other periods
    assert report.heads("induction", "weak") == []


@pytest.mark.parametrize("n_layers", [1, 2])
@pytest.mark.parametrize("positions", ["standard", "shortformer", "rotary"])
def test_untrained_models_have_no_induction_head(n_layers, positions):
    for seed in range(3):
        config = TransformerConfig(n_layers=n_layers, d_model=32, d_head=8, positions=positions, normalization="LN")
        report = audit(Transformer(config, torch.Generator().manual_seed(seed)), bos=0, seed=seed)
        assert report.heads("induction", "weak") == report.heads("prefix-matching", "weak") == []


def test_roles_and_feeders_survive_another_basis_of_the_residual_stream(generator):
    model = change_basis(make("induction_k", **SIZE).model, generator)
    report = audit(model, bos=0)
    assert report.heads("induction", "strong") == ["L1H0"]
    assert [(f.head, f.channel, f.agree) for f in report["L1H0"].claims[0].feeders] == [("L0H0", "K", True)]


def test_roles_follow_permuted_heads(generator):
    handmade = with_heads_permuted(make("induction_both", **SIZE), generator)
    report = audit(handmade.model, bos=0)
    wanted = {f"L{layer}H{index}" for (layer, index), role in handmade.truth.roles.items() if role == "induction"}
    assert set(report.heads("induction", "strong")) == wanted


def test_float32_and_float64_give_the_same_verdicts(reports):
    single = audit(make("induction_k", **SIZE).model.float(), bos=0)
    assert [(v.role, v.confidence) for v in single.verdicts] == [
        (v.role, v.confidence) for v in reports("induction_k").verdicts
    ]


def test_the_same_seed_gives_the_same_report(reports):
    again = audit(make("induction_k", **SIZE).model, bos=0).to_dict()
    assert again == reports("induction_k").to_dict()


def test_an_audit_leaves_the_model_as_it_was():
    model = make("induction_k", **SIZE).model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    audit(model, bos=0)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_skipping_evidence_lowers_the_confidence_and_says_what_it_could_be():
    report = audit(make("induction_k", **SIZE).model, bos=0, skip=["causal"])
    claim = report["L1H0"].claims[0]
    assert (claim.confidence, claim.possible_confidence) == ("moderate", "strong")
    assert claim.status("causal") == "missing"
    assert report.to_dict()["skipped"] == ["causal"]


def test_without_behaviour_no_role_is_given_but_none_is_excluded():
    report = audit(make("induction_k", **SIZE).model, bos=0, skip=["behaviour"])
    assert {v.role for v in report.verdicts} == {"none"}
    assert any(c.role == "induction" and c.possible_confidence == "strong" for c in report["L1H0"].claims)


def test_evidence_that_disagrees_is_reported_rather_than_settled():
    """With thresholds that no head can meet, the causal evidence is against what behaviour and weights are for."""
    criteria = replace(Criteria(), loss_share=2.0, no_loss_share=1.9)
    verdict = audit(make("induction_k", **SIZE).model, bos=0, criteria=criteria)["L1H0"]
    assert (verdict.role, verdict.confidence) == ("induction", "contested")
    assert "causal evidence is against it" in verdict.summary


def test_unknown_evidence_is_refused():
    with pytest.raises(InputError, match="no kind of evidence is called 'dreams'"):
        audit(make("induction_k", **SIZE).model, skip=["dreams"])


def test_a_model_without_layers_is_refused():
    with pytest.raises(InputError, match="no attention layers"):
        audit(Transformer(TransformerConfig(n_layers=0)))


@pytest.mark.parametrize("name", ["positional", "copy_suppression"])
def test_verdicts_asked_twice_are_the_same_to_the_last_digit(name):
    model = make(name).model
    report = audit(model, bos=0, context=False)
    again = verdicts_of(shape_of(model).heads, report.sources, None)
    assert [verdict.to_dict() for verdict in again] == [verdict.to_dict() for verdict in report.verdicts]
