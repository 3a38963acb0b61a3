"""Weight evidence through a few earlier heads only: what was not tried speaks neither for nor against a head."""

import pytest

from analyses.audit import audit
from analyses.audit.plan import Plan as Budget
from toy_models.handmade.blocks import Plan, Size, build
from toy_models.handmade.induction import RECENCY, duplicate_token_head, following_head, previous_token_head


@pytest.fixture(scope="module")
def by_queries():
    """Induction by Q-composition, its feeder beside four previous-token heads, which partners are chosen by."""
    size = Size(d_vocab=12, n_ctx=24)
    decoys = [previous_token_head(size)] * 4
    widths = size.widths(by_token="tok prev out", by_position="pos ptr")
    plan = Plan(size, widths, ((duplicate_token_head(size, RECENCY), *decoys), (following_head(size),)))
    return build(plan).requires_grad_(False)


@pytest.mark.parametrize("partners, weights, confidence", [(4, "undecided", "moderate"), (5, "for", "strong")])
def test_an_induction_head_whose_feeder_was_not_tried_is_not_contested(by_queries, partners, weights, confidence):
    report = audit(by_queries, bos=0, plan=Budget(candidates=6, partners=partners))
    claim = report["L1H0"].having("induction")
    assert claim.status("weights") == weights
    assert (claim.confidence, claim.mechanism) == (confidence, "Q-composition")
    assert [(feeder.head, feeder.channel) for feeder in claim.feeders] == [("L0H0", "Q")]
