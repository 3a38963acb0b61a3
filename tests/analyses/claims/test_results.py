"""The results that come with the package: each is a claim's, judged by today's rule, and shown by the README."""

import pytest

from analyses.claims.catalogue import all_claims
from analyses.claims.placebo import holds_too_often, needs_placebo
from analyses.claims.readme import BLOCK, README, block
from analyses.claims.stored import load

CLAIMS = {claim.name: claim for claim in all_claims()}
RESULTS = load()


def test_every_declared_claim_has_a_result_and_every_result_a_claim():
    assert set(RESULTS) == set(CLAIMS)


@pytest.mark.parametrize("name", RESULTS)
def test_the_stored_verdict_is_what_its_stored_values_are_judged_to_be(name):
    found = RESULTS[name]
    assert found.verdict == found.judged()
    assert [part["outcome"] for part in found["parts"]] == [part.outcome for part in found.parts]
    for stored, part in zip(found["parts"], found.parts, strict=True):
        if part.estimate is not None:
            assert (stored["interval"]["low"], stored["interval"]["high"]) == (part.estimate.low, part.estimate.high)


def test_all_were_run_with_the_default_seeds_and_budget():
    assert {(*found["seeds"], found["budget"], found["device"]) for found in RESULTS.values()} == {
        (0, 1, 2, 1.0, "cpu")
    }


def test_what_was_trained_has_a_placebo_of_twenty_draws():
    lacking = [name for name, found in RESULTS.items() if needs_placebo(CLAIMS[name]) and not found["placebo"]]
    assert lacking == []
    assert {found["placebo"]["draws"] for found in RESULTS.values() if found["placebo"]} == {20}


def test_a_placebo_holds_in_two_draws_at_most_or_is_marked_in_the_readme():
    text = README.read_text(encoding="utf-8")
    for name, found in RESULTS.items():
        if holds_too_often(found["placebo"]):
            assert name in BLOCK.search(text)[0]
            assert f"**{found['placebo']['holds']} of 20" in BLOCK.search(text)[0]


def test_the_readme_shows_the_stored_results():
    assert BLOCK.findall(README.read_text(encoding="utf-8")) == [block(list(RESULTS.values()))]
