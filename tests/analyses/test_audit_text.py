"""What the terminal and report.json say of disagreements, mechanisms, other roles and changed criteria."""

from dataclasses import replace

import pytest

from analyses import reliability
from analyses.audit import Criteria
from analyses.commands.audit_text import HEADER, by_channel, role_and_mechanism, text
from analyses.evidence import Claim, Evidence, Feeder, Measurement, Verdict
from interp.names import Head

pytest_plugins = ("tests.reports",)


def claim(role, causal=True, **more):
    def evidence(kind, holds):
        return Evidence(kind, (Measurement(f"number of {kind}", 0.25, "at least 0.5", holds),))

    kinds = (evidence("behaviour", True), evidence("weights", True), evidence("causal", causal))
    return Claim(role, kinds, **more)


def feeder(head, channel):
    return Feeder(head, channel, Measurement("lost", 0.9, "at least 0.3", True), None, True)


@pytest.fixture(scope="module")
def contested(induction_report):
    """The handmade induction model's report, with a verdict on L1H0 that its causal evidence is against."""
    claims = (
        claim("induction", mechanism="K-composition", feeders=(feeder("L0H0", "K"),)),
        claim("copying", causal=False),
    )
    verdicts = (induction_report.report["L0H0"], Verdict("L1H0", "induction", "strong", "a summary", claims))
    return replace(induction_report.report, verdicts=verdicts), induction_report.subject


def test_disagreements_come_before_the_table_with_head_role_kind_and_number(contested):
    said = text(*contested, [])
    block = said[said.index("Disagreements") : said.index("head  role")]
    assert " ".join(block.split()) == (
        "Disagreements L1H0 as copying, causal: behaviour is for copying, but the causal evidence is against it: "
        "number of causal is 0.25, and the rule is: at least 0.5."
    )


def test_without_a_disagreement_there_is_no_such_block(induction_report):
    assert "Disagreements" not in text(induction_report.report, induction_report.subject, [])


def test_a_row_names_the_mechanism_the_partners_and_the_other_roles(contested):
    row = next(line for line in text(*contested, []).splitlines() if line.startswith("L1H0  "))
    assert row.startswith("L1H0  induction (K)")
    assert row.endswith("L0H0 (K)  copying (contested)")
    assert len(HEADER) == 9


def test_partners_are_listed_by_channel():
    assert by_channel([feeder("L0H0", "K"), feeder("L0H2", "Q"), feeder("L0H3", "K")]) == ["L0H0, L0H3 (K)", "L0H2 (Q)"]
    assert role_and_mechanism(claim("induction", mechanism="not identified")) == "induction (?)"
    assert role_and_mechanism(claim("copying")) == "copying"


def test_json_has_every_role_and_the_contradictions(contested):
    document = contested[0].to_dict()
    found = document["verdicts"][1]
    assert [(each["role"], each["mechanism"], each["confidence"]) for each in found["roles"]] == [
        ("induction", "K-composition", "strong"),
        ("copying", None, "contested"),
    ]
    assert [(each["role"], each["kind"], each["measurement"]["value"]) for each in found["contradictions"]] == [
        ("copying", "causal", 0.25)
    ]
    assert document["contradictions"] == [{"head": "L1H0", **found["contradictions"][0]}]
    assert document["reliability"] == reliability.to_dict()


def test_changed_criteria_are_said_with_their_defaults(induction_report):
    report = replace(induction_report.report, criteria=Criteria(feed_drop=0.25))
    assert "Criteria of one's own: feed_drop 0.25 (default 0.3)." in text(report, induction_report.subject, [])
    assert "Criteria of one's own" not in text(induction_report.report, induction_report.subject, [])


def test_the_removal_behind_the_loss_is_named(induction_report):
    report = induction_report.report
    row = next(line for line in text(report, induction_report.subject, []).splitlines() if line.startswith("L1H0  "))
    costs = report.sources.causal.costs(Head(1, 0))[0]
    letter = "z" if "(by zero" in costs.name else "m"
    assert f"+{costs.value:.3f} [{costs.low:.3f}, {costs.high:.3f}] {letter}" in row


def test_the_other_heads_of_a_layer_are_a_comparison_and_no_null(contested):
    costs = contested[0].sources.causal.costs(Head(1, 0))[0]
    assert costs.nulls == {}
    assert "other positions" in costs.compared
