"""Which heads count for --expect, on verdicts made up to be hard, and which words it reads."""

import pytest

from analyses.audit.expectations import MECHANISMS, Expectation, judge
from analyses.evidence import Claim, Evidence, Measurement, Verdict
from interp.errors import InputError

pytest_plugins = ("tests.command_line",)


def claim(role, causal=True, mechanism=None, behaviour=True):
    def evidence(kind, holds):
        return Evidence(kind, () if holds == "missing" else (Measurement(kind, 1.0, "a rule", holds),))

    kinds = (evidence("behaviour", behaviour), evidence("weights", True), evidence("causal", causal))
    return Claim(role, kinds, mechanism=mechanism)


def verdict(head, *claims):
    made = [c for c in claims if c.confidence is not None]
    return Verdict(head, made[0].role if made else "none", made[0].confidence if made else None, "", claims)


def judged(text, *verdicts, confidence="moderate"):
    found = judge(verdicts, Expectation.parse(text), confidence)
    return found.heads, found.possible, found.outcome


def test_a_head_counts_for_every_role_it_has_whichever_is_named_first():
    both = verdict("L1H0", claim("induction", mechanism="K-composition"), claim("copying"))
    assert judged("induction", both) == judged("copying", both) == (("L1H0",), (), "holds")
    assert judged("previous-token", both) == ((), (), "fails")


def test_the_confidence_is_that_of_the_role_asked_for_and_not_of_the_first():
    verdict_ = verdict("L1H0", claim("induction"), claim("copying", causal=None))
    assert judged("copying", verdict_, confidence="strong") == ((), ("L1H0",), "undecided")
    assert judged("copying", verdict_, confidence="moderate") == (("L1H0",), (), "holds")
    contested = verdict("L1H0", claim("induction"), claim("copying", causal=False))
    assert judged("copying", contested, confidence="weak") == ((), (), "fails")


@pytest.mark.parametrize(("word", "mechanism"), MECHANISMS.items())
def test_a_mechanism_asked_for_is_no_other_mechanism(word, mechanism):
    assert Expectation.parse(f"{word}:2") == Expectation("induction", 2, mechanism)
    for other in MECHANISMS.values():
        found = judged(word, verdict("L1H0", claim("induction", mechanism=other)))
        open_ = other == "not identified"
        wanted = (
            (("L1H0",), (), "holds")
            if other == mechanism
            else ((), ("L1H0",) * open_, "undecided" if open_ else "fails")
        )
        assert found == wanted


def test_a_skipped_kind_leaves_a_role_undecided():
    assert judged("idle", verdict("L0H0", claim("idle", causal="missing"))) == ((), ("L0H0",), "undecided")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("inducton", "--expect knows no role 'inducton'; did you mean induction"),
        ("copy-supression", "did you mean copy-suppression"),
        ("induction-by-v", "did you mean induction-by-"),
        ("leader", "the roles are induction, copy-suppression"),
        ("none", "--expect knows no role 'none'"),
        ("induction:0", "--expect induction:N needs a whole number of at least 1, got '0'"),
        ("induction:", "needs a whole number of at least 1, got ''"),
        ("induction-by-k:x", "--expect induction-by-k:N needs a whole number"),
    ],
)
def test_words_that_name_no_role_are_refused_with_the_nearest(text, message):
    with pytest.raises(InputError) as error:
        Expectation.parse(text)
    assert message in str(error.value)


def test_a_confidence_that_nothing_is_expected_at_is_refused(interp, induction):
    called = interp("audit", induction, "--confidence", "strong")
    assert called.code == 2
    assert "name an --expect too" in called.err


def test_skipping_every_kind_of_evidence_is_refused(interp, induction):
    called = interp("audit", induction, "--skip", "weights", "--skip", "behaviour", "--skip", "causal")
    assert called.code == 2
    assert "without evidence there is no verdict" in called.err
