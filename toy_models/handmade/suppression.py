"""Copy suppression (McDougall et al. 2023, arXiv:2310.04625): a head that finds what is predicted, and lowers it.

Layer 0 and layer 1 are induction by K-composition, which writes its prediction to block `out`; in layer 2 a head
compares `out` with earlier tokens, attends to those predicted, and takes half of their logit back.
"""

import math

from toy_models.handmade.blocks import HeadPlan, Plan, Size
from toy_models.handmade.induction import FIRST, SECOND, matching_head, previous_token_head
from toy_models.handmade.model import Expectations, Handmade, copy_loss, finish, next_in_copy, repeated_tokens
from toy_models.handmade.tables import copy, same

THIRD = (2, 0)


def copy_suppression(size: Size) -> Handmade:
    look = same(size, "out", "tok", size.sharpness / size.gain)  # `out` holds the gain where it is sure
    head = HeadPlan("copy-suppression", (look,), (copy(size, "tok", "out", -size.gain / 2),))
    widths = size.widths(by_token="tok prev out", by_position="pos")
    plan = Plan(size, widths, ((previous_token_head(size),), (matching_head(size),), (head,)))
    left, uniform = copy_loss(size, 0.5), math.log(size.d_vocab)
    known = Expectations(size).add("accuracy", 1.0).add("loss", left)
    known.add("next-token accuracy", 1.0).add("next-token loss", left).add_orders([uniform, left, left, left])
    known.add("previous-token", 1.0, FIRST).add("prefix-matching", 1.0, SECOND)
    # The last token predicts the block's first one, which stands at two places by then.
    known.add("prefix-matching", 1 - 0.5 / size.period, THIRD).add("loss without", copy_loss(size), THIRD)
    known.add("K-matching", 1.0, FIRST, SECOND).add("token matching", 0.0, SECOND).add("token matching", 0.0, THIRD)
    score = 1 / math.sqrt(size.d_vocab)
    known.add_compositions(plan, {("K", (FIRST, SECOND)): score, ("Q", (SECOND, THIRD)): score})
    through_feeders = {(FIRST,): 0.0, (FIRST, SECOND): 0.0, (FIRST, THIRD): 0.0}
    known.add_paths({**through_feeders, (SECOND,): size.gain, (THIRD,): -size.gain / 2})
    summary = "Induction by K-composition; a third layer attends to what it predicts, and halves its logit."
    return finish("copy_suppression", summary, plan, known, next_in_copy(repeated_tokens(size)), "K")
