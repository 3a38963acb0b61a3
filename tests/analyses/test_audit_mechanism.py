"""By which mechanism a head does induction: K and Q are never swapped, and what disagrees is not identified."""

import pytest
import torch

from analyses.audit import audit
from analyses.audit.mechanism import decide_mechanism, smearing_lost
from interp.names import Head
from interp.stats import Estimate
from tests.changed_models import changed
from toy_models.handmade import make
from toy_models.handmade.blocks import HeadPlan, Plan, Size, build
from toy_models.handmade.induction import matching_head, previous_token_head
from toy_models.handmade.model import repeated_tokens
from toy_models.handmade.tables import copy, same


def lost(mean, width=0.02):
    return Estimate(mean, mean - width, mean + width, 32, 0.95, "made up")


EVERY = {"K": True, "Q": True, "smeared": True}


@pytest.mark.parametrize(
    ("shares", "matched", "mechanism"),
    [
        ({"K": 0.9, "Q": 0.0}, EVERY, "K-composition"),
        ({"K": 0.0, "Q": 0.9}, EVERY, "Q-composition"),
        ({"K": 0.0, "Q": 0.1, "smeared": 1.0}, EVERY, "smeared keys"),
        ({"K": 0.5, "Q": 0.6}, EVERY, "mixed"),
        ({"K": 0.2, "Q": 0.1}, EVERY, "not identified"),
        ({"K": 0.31, "Q": 0.0}, EVERY, "not identified"),  # the interval straddles the threshold
        ({}, EVERY, "not identified"),
        ({"K": 0.9, "Q": 0.0}, {"K": False, "Q": True}, "not identified"),
        ({"K": 0.9, "Q": 0.8}, {"K": True, "Q": False}, "not identified"),
        ({"K": 0.9, "Q": 0.0}, None, "K-composition"),
    ],
)
def test_causes_name_the_mechanism_and_weights_must_allow_it(shares, matched, mechanism):
    found, notes = decide_mechanism({way: lost(share) for way, share in shares.items()}, matched, 0.3)
    assert found == mechanism
    assert bool(notes) == (mechanism == "not identified" and bool(shares))


def test_a_disagreement_names_both_sides():
    _, notes = decide_mechanism({"K": lost(0.9), "Q": lost(0.0)}, {"K": False, "Q": True}, 0.3)
    assert "what is removed points to K-composition, while its weights would match by Q-composition" in notes[0]


def test_a_way_of_which_it_cannot_be_told_whether_it_counts_is_said_beside_the_mechanism():
    found, notes = decide_mechanism({"K": lost(0.9), "Q": lost(0.31), "smeared": lost(0.2)}, None, 0.3)
    assert found == "K-composition"
    assert len(notes) == 1
    assert notes[0].startswith("the mechanism may be mixed: 0.31 [0.29, 0.33] is lost by Q-composition")


MECHANISMS = {
    "induction_k": {"K-composition"},
    "induction_q": {"Q-composition"},
    "induction_both": {"K-composition", "Q-composition"},
    "induction_shared": {"K-composition"},
    "induction_smeared": {"smeared keys"},
}


@pytest.mark.parametrize("change", [lambda handmade, generator: handmade, changed], ids=["as made", "changed"])
@pytest.mark.parametrize("name", MECHANISMS)
def test_every_handmade_mechanism_is_named_whatever_the_basis_or_the_order_of_heads(name, change, generator):
    handmade = change(make(name), generator)
    report = audit(handmade.model, bos=0)
    heads = [str(Head(*at)) for at in handmade.truth.heads("induction")]
    assert report.heads("induction", "strong") == heads
    found = {head: report[head].having("induction").mechanism for head in heads}
    assert set(found.values()) == MECHANISMS[name]
    for head in heads:
        assert all(
            {"K": "K-composition", "Q": "Q-composition"}[f.channel] == found[head]
            for f in report[head].claims[0].feeders
        )
    resting = [str(Head(*at)) for at, role in handmade.truth.roles.items() if role == "idle"]
    assert [report[head].role for head in resting] == ["idle"] * len(resting)


def two_layers_with_smeared_keys(share: float):
    """A previous-token head, and above it one that matches `prev` (K) or, by smeared keys, `tok`."""
    size = Size()
    by_smearing = HeadPlan("induction", (same(size, "tok", "tok"),), (copy(size, "tok", "out", size.gain),))
    layers = ((previous_token_head(size),), (by_smearing,))
    raw = torch.logit(torch.tensor(share, dtype=torch.float64), eps=1e-15).item()
    return build(Plan(size, size.widths(by_token="tok prev out", by_position="pos"), layers, smear=raw))


def test_smeared_keys_above_a_previous_token_head_are_told_from_k_composition():
    """In layer 0, the smeared key of the position before is that of two back: the head is no previous-token head."""
    report = audit(two_layers_with_smeared_keys(1e-12), bos=0)
    assert report["L1H0"].having("induction").mechanism == "smeared keys"


def test_setting_the_smear_to_one_takes_all_prefix_matching_away_where_it_rests_on_it(generator):
    tokens = repeated_tokens(Size(), period=8, repeats=3, n=8)
    model = make("induction_smeared").model
    assert smearing_lost(model, Head(0, 0), tokens, generator, 0.95).mean == pytest.approx(1, abs=1e-6)


def test_setting_the_smear_to_one_leaves_k_composition_alone(generator):
    size, tokens = Size(), repeated_tokens(Size(), period=8, repeats=3, n=8)
    layers = ((previous_token_head(size),), (matching_head(size),))
    plan = Plan(size, size.widths(by_token="tok prev out", by_position="pos"), layers, smear=40.0)
    assert smearing_lost(build(plan), Head(1, 0), tokens, generator, 0.95).mean == pytest.approx(0, abs=1e-6)
