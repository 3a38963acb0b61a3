"""The report's section on heads with textbook patterns and heads removed together, where the truth is known."""

import pytest
import torch

from analyses.audit import audit
from analyses.evidence import Verdict
from analyses.loading import load_subject
from analyses.report.blocks import Table
from analyses.report.context import Context
from analyses.report.idealised import ENOUGH, TAKES_OVER, reading, section
from analyses.report.replacements import AMBIGUOUS, DISTINCT, MOST_OF_A_ROLE, named_heads, with_repeats
from interp.ablation import idealised_recovery
from interp.ablation.ideal_patterns import INDUCTION, LONG_INDUCTION, PREVIOUS_TOKEN
from interp.heads import Protocol, repeated_tokens
from interp.names import Head
from interp.stats import Estimate
from tests.report_pages import save_handmade

pytest_plugins = ("tests.reports",)


def section_of(folder, **options):
    """The section alone, without the rest of the report."""
    subject = load_subject(folder)
    return section(Context(audit(subject, **options), subject))


def found_in(made):
    return made.json["page"]["replaced"]["idealised"]


def test_handmade_heads_lose_nothing_by_textbook_patterns_and_all_one_position_off(induction_report):
    found = found_in(induction_report)
    assert found["heads"] == {"previous-token": ["L0H0"], "induction": ["L1H0"]}
    for each in found["recoveries"]:
        if each["on"] == DISTINCT:
            assert each["share"]["mean"] == pytest.approx(1, abs=1e-3)
            assert each["control"]["mean"] < 0
    assert found["interactions"] is None
    assert "There are no two heads of one role" in induction_report.section("replaced")


def test_the_shares_are_those_of_the_audits_own_tokens(induction_report):
    battery, model = induction_report.report.battery, induction_report.subject.model
    direct = idealised_recovery(
        model, {Head(0, 0): PREVIOUS_TOKEN}, battery.tokens, battery.predictable, torch.Generator().manual_seed(5)
    )
    shown = found_in(induction_report)["recoveries"][0]
    assert shown["share"]["mean"] == pytest.approx(direct.share.mean)
    assert shown["losses"] == pytest.approx(direct.losses)


def test_where_one_token_is_ambiguous_a_longer_match_keeps_more(induction_report):
    """A head that matches one token keeps all with the pattern of one token, and gains with that of two."""
    short, long = [each for each in found_in(induction_report)["recoveries"] if each["on"] == AMBIGUOUS]
    assert [next(iter(each["patterns"].values()))["name"] for each in (short, long)] == [
        "induction",
        "induction, up to 2 tokens",
    ]
    assert short["share"]["mean"] == pytest.approx(1, abs=1e-3)
    assert long["share"]["low"] > 1.2


def test_two_heads_of_which_one_is_enough_are_said_to_stand_in_for_each_other(tmp_path):
    """The model has two induction heads that do the same, one by K- and one by Q-composition."""
    shown = section_of(save_handmade(tmp_path / "both", "induction_both"))
    found = shown.values["idealised"]
    assert found["heads"]["induction"] == (Head(1, 0), Head(1, 1))
    pair = next(each for each in found["interactions"]["sets"] if each["heads"] == ["L1H0", "L1H1"])
    assert pair["joint"]["mean"] > 2
    assert all(abs(found["interactions"]["singles"][head]["mean"]) < 0.1 for head in pair["heads"])
    assert found["sets"]["induction"]["loss"]["mean"] == pytest.approx(pair["joint"]["mean"])
    said, table = shown.blocks[-2:]
    assert said.pieces == ("Of 1 pair of heads of one role, 1 stands in for each other: L1H0 + L1H1.",)
    assert [row[-1] for row in table.rows] == [ENOUGH]
    assert all(
        len(row) == len(block.header) for block in shown.blocks if isinstance(block, Table) for row in block.rows
    )


def test_a_model_without_such_heads_has_nothing_to_replace(default_report):
    assert "No head is a previous-token or an induction head" in default_report.section("replaced")
    assert "replaced" not in default_report.json["page"]


def test_without_causal_evidence_nothing_is_replaced(tmp_path):
    shown = section_of(save_handmade(tmp_path / "m", "induction_k"), skip=("causal",))
    assert "Not measured: causal evidence was left out" in shown.blocks[0].text
    assert shown.values == {}


def test_blocks_that_repeat_tokens_tell_matches_of_one_and_two_tokens_apart(generator):
    protocol = Protocol(3, 10, d_vocab=20, bos=0)
    tokens = repeated_tokens(protocol, 5, generator)
    kept = tokens.clone()
    found = with_repeats(tokens, protocol, generator)
    assert torch.equal(tokens, kept)
    assert bool((found[:, 0] == 0).all())
    assert torch.equal(found[:, 1:11], found[:, 11:21])
    assert torch.equal(found[:, 1:11], found[:, 21:31])
    for row, block in zip(found[:, 1:11], tokens[:, 1:6], strict=True):
        assert set(row.tolist()) <= set(block.tolist())
    assert torch.equal(INDUCTION(tokens[:, :21]), LONG_INDUCTION(tokens[:, :21]))
    assert not torch.equal(INDUCTION(found[:, :21]), LONG_INDUCTION(found[:, :21]))


def estimate(low, high):
    return Estimate((low + high) / 2, low, high, 32, 0.95, "by hand")


@pytest.mark.parametrize(
    "loss, logit, q_value, said",
    [
        ((0.1, 0.2), (-0.3, -0.1), 0.001, TAKES_OVER),
        ((0.1, 0.2), (-0.3, 0.1), 0.001, ENOUGH),
        ((0.1, 0.2), (-2e-7, -1e-7), 0.001, ENOUGH),
        ((-0.2, -0.1), (0.1, 0.3), 0.001, "links of one chain"),
        ((-0.1, 0.2), (-0.3, -0.1), 0.001, "not told from independent"),
        ((0.1, 0.2), (-0.3, -0.1), 0.2, "not told from independent"),
    ],
)
def test_what_an_interaction_is_said_to_be(loss, logit, q_value, said):
    assert reading(estimate(*loss), estimate(*logit), q_value) == said


def test_at_most_a_few_heads_of_a_role_are_replaced(induction_report):
    claims = induction_report.report["L1H0"].claims
    many = tuple(Verdict(f"L{layer}H0", "induction", "strong", "", claims) for layer in range(9, 0, -1))
    assert named_heads(many) == {"induction": tuple(Head(layer, 0) for layer in range(10 - MOST_OF_A_ROLE, 10))}
