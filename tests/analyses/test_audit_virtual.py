"""Virtual heads with two feeders: which pair a claim rests on, and that no number hangs on a head's inner basis."""

import copy

import pytest

from analyses.audit import audit
from toy_models.handmade.blocks import HeadPlan, Plan, Size, build
from toy_models.handmade.tables import copy as move
from toy_models.handmade.tables import look_back


def two_feeders(aside=0.0):
    """L1H0 reads what L0H0 and L0H1 moved, one and two back, and writes the latter's to the logits the more strongly.

    `aside`: how strongly it writes what L0H0 moved to where nobody reads.
    """
    size = Size(d_vocab=12, n_ctx=24)
    one, two = (HeadPlan("shift", (look_back(size, by),), (move(size, "tok", to),)) for by, to in ((1, "a"), (2, "b")))
    writes = (move(size, "a", "out", 4.0), move(size, "b", "out", 6.0), move(size, "a", "unread", aside))
    widths = size.widths(by_token="tok a b out unread", by_position="pos")
    plan = Plan(size, widths, ((one, two), (HeadPlan("previous-token", (look_back(size),), writes),)))
    return build(plan).requires_grad_(False)


def stretched(model, by):
    """The same function; the numbers of L1H0's z that hold block a are larger."""
    model = copy.deepcopy(model)
    attention, n = model.blocks[1].attn, model.config.d_vocab
    attention.W_V[0, :, :n] *= by
    attention.W_O[0, :n] /= by
    return model


@pytest.mark.parametrize("by", [1.0, 5.0])
def test_what_a_feeder_brought_is_a_share_of_what_the_later_head_writes_whatever_its_inner_basis(by):
    pairs = audit(stretched(two_feeders(), by), bos=0, context=False).sources.virtual.pairs
    moved = {str(pair.earlier): pair.moved.mean for pair in pairs}
    assert moved == pytest.approx({"L0H0": 16 / 52, "L0H1": 36 / 52}, abs=0.05)  # near the start both bring the same


def test_a_claim_rests_on_the_pair_that_meets_both_rules_not_on_the_one_that_moves_most():
    report = audit(two_feeders(aside=6.0), bos=0, context=False)
    much, enough = report.sources.virtual.pairs
    assert much.moved.mean > enough.moved.mean > report.criteria.value_share > much.effect.high
    claim = report["L1H0"].having("virtual-head")
    assert claim.confidence == "strong"
    assert [feeder.head for feeder in claim.feeders] == ["L0H1"]
    assert report["L0H0"].having("virtual-head").confidence == "contested"
