"""Every claim that is declared: complete, of one style, fit to be run elsewhere and to be known again."""

import importlib
import re

import pytest

from analyses.claims.arms import check_arms
from analyses.claims.catalogue import all_claims
from analyses.claims.claim import Claim
from analyses.claims.placebo import needs_placebo
from analyses.claims.running import run_claim
from analyses.claims.stored import load

CLAIMS = all_claims()
MOST_SECONDS = 0.1
"""Identities whose stored result says that a seed takes longer are run in their own tests."""


def quick(claim: Claim) -> bool:
    stored = load().get(claim.name)
    return not claim.trained and stored is not None and stored["cpu_seconds"] < MOST_SECONDS * len(stored["seeds"])


def failing(wrong) -> list[str]:
    return [claim.name for claim in CLAIMS if wrong(claim)]


def test_names_are_words_joined_by_hyphens():
    assert failing(lambda claim: not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", claim.name)) == []


def test_statement_source_and_reason_of_the_control_are_whole_sentences():
    assert failing(lambda claim: not claim.statement.strip().endswith((".", "!", "?"))) == []
    assert failing(lambda claim: not claim.why.strip().endswith((".", "!", "?"))) == []
    assert failing(lambda claim: not claim.source.strip()) == []
    assert failing(lambda claim: not claim.numbers) == []


def test_arms_can_be_sent_to_another_process_and_known_by_a_digest():
    check_arms(CLAIMS)
    for claim in CLAIMS:
        for arm in claim.arms.values():
            module = importlib.import_module(arm.train.__module__)
            assert getattr(module, arm.train.__qualname__) is arm.train


def test_no_text_is_too_long_for_a_table_and_no_condition_is_said_twice():
    assert failing(lambda claim: len(claim.statement) > 200) == []
    assert failing(lambda claim: len({c.condition for c in claim.comparisons}) < len(claim.comparisons)) == []


def test_a_difference_that_would_matter_is_given_where_something_is_trained():
    assert failing(lambda claim: any(c.kind == "equivalent" and c.margin == 0 for c in claim.comparisons)) == []


def test_identities_compare_errors_alone_and_what_is_trained_can_have_a_placebo():
    assert failing(lambda claim: not claim.trained and any(c.kind != "exact" for c in claim.comparisons)) == []
    assert failing(lambda claim: claim.trained and not claim.untestable and not needs_placebo(claim)) == []


@pytest.mark.parametrize("claim", [claim for claim in CLAIMS if quick(claim)], ids=lambda claim: claim.name)
def test_an_identity_comes_out_as_stored(claim):
    found = {part.condition: part.outcome for part in run_claim(claim, (0,)).parts}
    stored = {part.condition: part.outcome for part in load()[claim.name].parts}
    assert {condition: found[condition] for condition in found.keys() & stored} == {
        condition: stored[condition] for condition in found.keys() & stored
    }
