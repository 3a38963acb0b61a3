"""Every role on the models that have it by construction, and on none of the others."""

import pytest
import torch

from analyses.audit import audit
from interp.names import Head
from tests.changed_models import changed
from toy_models.handmade import make, names
from toy_models.handmade.blocks import IDLE, HeadPlan, Match, Plan, Size, build
from toy_models.handmade.induction import matching_head, previous_token_head
from toy_models.handmade.tables import copy, same

ROLES = {
    "previous_token": {"L0H0": {"previous-token", "copying"}},
    "shift_by": {"L0H0": {"positional", "copying"}},
    "current_token": {"L0H0": {"current-token", "copying"}},
    "first_token_sink": {"L0H0": {"first-token", "idle"}},
    "duplicate_token": {"L0H0": {"duplicate-token", "copying"}},
    "induction_k": {"L0H0": {"previous-token"}, "L1H0": {"induction", "copying"}},
    "induction_q": {"L0H0": {"duplicate-token"}, "L1H0": {"induction", "copying"}},
    "induction_smeared": {"L0H0": {"induction", "copying"}},
    "two_back": {"L0H0": {"previous-token", "virtual-head"}, "L1H0": {"previous-token", "virtual-head"}},
    "three_layer_chain": {f"L{layer}H0": {"previous-token", "virtual-head"} for layer in range(3)},
    "copy_suppression": {
        "L0H0": {"previous-token"},
        "L1H0": {"induction", "copying"},
        "L2H0": {"copy-suppression"},
    },
    "unread_previous_token": {"L0H0": {"previous-token", "idle"}, "L1H0": {"current-token", "copying"}},
    "no_copy": {"L0H0": {"previous-token"}, "L1H0": {"prefix-matching"}},
    "anti_copying": {"L0H0": {"previous-token"}, "L1H0": {"anti-copying"}},
    "literal_current": {"L0H0": {"previous-token", "virtual-head"}, "L1H0": {"prefix-matching", "virtual-head"}},
    "positional": {"L0H0": {"previous-token", "idle"}, "L1H0": {"positional", "copying"}},
    "random_weights": {"L0H0": set(), "L1H0": set()},
    "untrained": {"L0H0": set(), "L1H0": set()},
}
"""All roles that each head of a model has, at whatever confidence above contested."""
SIZE = {"d_vocab": 24, "n_ctx": 40}


@pytest.fixture(scope="module")
def reports():
    """Audits of handmade models, each made once."""
    made = {}

    def report(name):
        if name not in made:
            made[name] = audit(make(name, **SIZE).model, bos=0)
        return made[name]

    return report


def roles_of(report):
    """The roles of every head that the kinds of evidence agree on."""
    return {v.head: {c.role for c in v.roles if c.confidence != "contested"} for v in report.verdicts}


@pytest.mark.parametrize("name", ROLES)
def test_every_head_has_the_roles_that_its_weights_were_set_for_and_no_other(reports, name):
    assert roles_of(reports(name)) == ROLES[name]


def test_all_handmade_models_are_looked_at_here_or_with_the_mechanisms():
    assert set(names()) - set(ROLES) == {"induction_both", "induction_shared", "skip_trigram", "literal_previous"}


@pytest.mark.parametrize("name", ["shift_by", "two_back", "copy_suppression", "positional"])
def test_no_role_hangs_on_the_basis_the_order_of_heads_or_idle_ones(name, generator):
    handmade = changed(make(name, **SIZE), generator)
    found = roles_of(audit(handmade.model, bos=0))
    for (layer, index), made_as in handmade.truth.roles.items():
        wanted = {"idle"} if made_as == "idle" else ROLES[name][f"L{layer}H0"]
        assert found[str(Head(layer, index))] == wanted


def test_a_virtual_head_names_the_head_that_its_values_read_and_the_one_that_reads_them(reports):
    first, second = (reports("two_back")[head].having("virtual-head") for head in ("L0H0", "L1H0"))
    assert [(f.head, f.channel) for f in first.readers] == [("L1H0", "V")]
    assert [(f.head, f.channel) for f in second.feeders] == [("L0H0", "V")]
    assert (first.confidence, second.confidence) == ("strong", "strong")
    looks = next(m for e in second.evidence for m in e.measurements if "in a row" in m.name)
    assert "2 back" in looks.name
    assert looks.value > 0.99


def test_the_middle_head_of_a_chain_reads_one_head_and_is_read_by_another(reports):
    middle = reports("three_layer_chain")["L1H0"].having("virtual-head")
    assert [f.head for f in middle.feeders] == ["L0H0"]
    assert [f.head for f in middle.readers] == ["L2H0"]
    circuit = next(m for e in middle.evidence if e.kind == "weights" for m in e.measurements)
    assert "L0H0 then L1H0 then L2H0" in circuit.name
    assert circuit.value == pytest.approx(1)


def test_a_sink_says_why_no_removal_can_speak_for_it(reports):
    causal = next(e for e in reports("first_token_sink")["L0H0"].claims[0].evidence if e.kind == "causal")
    assert causal.status == "missing"
    assert causal.note.startswith("no removal can speak for this role")


def built(*layers):
    size = Size()
    width = max(map(len, layers))
    padded = tuple((*heads, *[IDLE] * (width - len(heads))) for heads in layers)
    return build(Plan(size, size.widths(by_token="tok prev out", by_position="pos"), padded))


def test_a_head_that_looks_nowhere_in_particular_and_is_missed_is_unexplained():
    """Even attention raises every token of the sequence above those that are not in it: 0.15 nats are gained."""
    bag = HeadPlan("random", (), (copy(Size(), "tok", "out", 10.0),))
    verdict = audit(built((bag, IDLE)), bos=0)["L0H0"]
    assert (verdict.role, verdict.confidence) == ("unexplained", "moderate")
    weights = next(e for e in verdict.claims[0].evidence if e.kind == "weights")
    assert weights.note


def resting_head(size: Size) -> HeadPlan:
    """An induction head that rests on position 0 where nothing matches, so that a second one changes nothing there."""
    rest = torch.zeros(size.n_ctx, size.n_ctx, dtype=torch.float64)
    rest[:, 0] = size.sharpness / 2
    return HeadPlan("induction", (same(size, "tok", "prev"), Match("pos", "pos", rest)), matching_head(size).moves)


def test_heads_that_stand_in_for_each_other_are_not_idle_and_the_resting_ones_are():
    size = Size()
    report = audit(built((previous_token_head(size),), (resting_head(size), resting_head(size))), bos=0)
    assert report.sources.idle.candidates == [Head(0, 1), Head(1, 0), Head(1, 1)]  # each alone costs nothing
    assert roles_of(report) == {
        "L0H0": {"previous-token"},
        "L0H1": {"idle"},
        "L1H0": {"induction", "copying"},
        "L1H1": {"induction", "copying"},
    }
    assert report["L0H1"].confidence == "strong"


def test_a_head_that_lowers_what_followed_a_copy_by_its_own_keys_does_not_suppress_copies():
    """It attends to what is predicted, which is what followed the copy; but its query does not read predictions."""
    size = Size()
    by_keys = HeadPlan("anti-copying", (same(size, "tok", "prev"),), (copy(size, "tok", "out", -size.gain / 2),))
    report = audit(built((previous_token_head(size),), (matching_head(size),), (by_keys,)), bos=0)
    assert roles_of(report)["L2H0"] == {"anti-copying"}
    assert report["L2H0"].having("copy-suppression").confidence == "contested"
    assert [each.kind for each in report["L2H0"].contradictions] == ["weights", "causal"]


def test_without_positions_weights_say_of_no_place_that_they_send_a_head_there():
    """A head that looks at one word, wherever it stands: at the first place too, where that word stands."""
    report = audit(make("skip_trigram").model, bos=0)
    places = {"previous-token", "current-token", "first-token"}
    claims = [claim for v in report.verdicts for claim in v.claims if claim.role in places]
    assert claims, "no head looks at a place"
    for claim in claims:
        assert claim.status("weights") == "missing"
        assert next(e for e in claim.evidence if e.kind == "weights").note.startswith("the model has no positions")
    assert report.heads("first-token", confidence="moderate") == []
