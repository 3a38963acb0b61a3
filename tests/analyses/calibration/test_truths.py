"""What is counted as right is read off the way the models were made."""

import pytest

from analyses.calibration.truths import MADE_AS, UNTOLD, truth_of
from analyses.criteria import ROLES
from toy_models import handmade
from toy_models.handmade import make


def test_every_role_that_a_handmade_head_can_have_is_translated_into_the_audits_words():
    assert set(MADE_AS) == set(handmade.ROLES)
    assert {role for roles in MADE_AS.values() for role in roles} <= set(ROLES)
    assert {role for roles in UNTOLD.values() for role in roles} <= set(ROLES)


@pytest.mark.parametrize(
    "name, head, mechanism",
    [
        ("induction_k", (1, 0), "K-composition"),
        ("induction_shared", (1, 0), "K-composition"),
        ("induction_q", (1, 0), "Q-composition"),
        ("induction_both", (1, 1), "Q-composition"),
        ("induction_smeared", (0, 0), "smeared keys"),
        ("induction_k", (0, 0), None),
        ("literal_current", (1, 0), None),
    ],
)
def test_the_mechanism_is_read_off_who_writes_the_heads_keys_and_queries(name, head, mechanism):
    assert truth_of(make(name).truth, head).mechanism == mechanism


@pytest.mark.parametrize(
    "name, head, roles",
    [
        ("induction_k", (1, 0), {"induction", "copying"}),
        ("induction_k", (0, 0), {"previous-token"}),
        ("induction_shared", (1, 1), {"idle"}),
        ("previous_token", (0, 0), {"previous-token", "copying"}),
        ("shift_by", (0, 0), {"positional", "copying"}),
        ("anti_copying", (1, 0), {"anti-copying"}),
        ("no_copy", (1, 0), {"prefix-matching"}),
        ("copy_suppression", (2, 0), {"copy-suppression"}),
        ("two_back", (0, 0), {"previous-token", "virtual-head"}),
        ("literal_current", (1, 0), {"prefix-matching", "virtual-head"}),
        ("skip_trigram", (0, 0), set()),
        ("untrained", (1, 0), set()),
    ],
)
def test_a_head_has_the_roles_it_was_made_for_and_those_that_follow_from_its_weights(name, head, roles):
    assert truth_of(make(name).truth, head).roles == roles


def test_no_random_head_or_decoy_may_be_called_induction():
    for name in ("untrained", "random_weights", "positional", "no_copy", "anti_copying", "literal_previous"):
        truth = make(name).truth
        assert {truth_of(truth, head).told("induction") for head in truth.roles} == {False}


def test_the_truth_is_silent_on_whether_a_head_that_nobody_reads_is_idle():
    truth = make("unread_previous_token").truth
    assert truth_of(truth, (0, 0)).told("idle") is None
    assert truth_of(truth, (1, 0)).told("idle") is False
    assert truth_of(make("induction_k").truth, (0, 0)).told("idle") is False


def test_much_noise_makes_the_truth_silent_on_connections_that_it_may_have_made():
    unread, chain = make("unread_previous_token").truth, make("two_back").truth
    assert truth_of(unread, (1, 0)).told("virtual-head") is False
    assert truth_of(unread, (1, 0), disturbed=True).told("virtual-head") is None
    assert truth_of(chain, (1, 0), disturbed=True).told("virtual-head") is True
    assert truth_of(unread, (1, 0), disturbed=True).told("induction") is False
