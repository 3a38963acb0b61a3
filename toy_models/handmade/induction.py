"""Induction heads of every making: K-composition, Q-composition, both, a shared feed, and smeared keys.

K (Elhage et al. 2021): layer 0 writes the previous token into block `prev`; layer 1 matches the present token with
`prev` and copies. Q ("pointer arithmetic", the same paper): layer 0 finds an earlier copy of the present token and
writes its position into `ptr`; layer 1 attends one position further and copies.

Where a token has several earlier copies, the K model shares its attention evenly among all their followers; the Q
model follows the most recent copy only (`recency` > 0, the default), or, with `recency=0`, the average pointer.
Sequences begin with token 0: position 0 can attend to nothing but itself, so a token there that came again would be
remembered as its own predecessor.
"""

import math
from typing import Literal

import torch

from toy_models.errors import InputError
from toy_models.handmade.blocks import IDLE, HeadPlan, Move, Plan, Size
from toy_models.handmade.model import (
    Expectations,
    Handmade,
    copy_loss,
    even_attention_loss,
    even_attention_losses,
    finish,
    next_in_copy,
    repeated_tokens,
)
from toy_models.handmade.tables import copy, follow_pointer, look_at_copy, look_back, point, same

RECENCY = 10.0
FIRST, SECOND = (0, 0), (1, 0)
FED = {(FIRST,): 0.0, (FIRST, SECOND): 0.0}
"""The logits of paths through a head that only feeds another one's pattern."""


def previous_token_head(size: Size, strength: float = 1.0) -> HeadPlan:
    return HeadPlan("previous-token", (look_back(size),), (copy(size, "tok", "prev", strength),))


def matching_head(size: Size, strength: float = 1.0) -> HeadPlan:
    """Attends to tokens whose remembered previous token is the present one, and copies them."""
    return HeadPlan("induction", (same(size, "tok", "prev"),), (copy(size, "tok", "out", size.gain * strength),))


def duplicate_token_head(size: Size, recency: float) -> HeadPlan:
    return HeadPlan("duplicate-token", look_at_copy(size, recency), (point(size),))


def following_head(size: Size, strength: float = 1.0) -> HeadPlan:
    """Attends to the position after the pointer, and copies the token there."""
    return HeadPlan("induction", (follow_pointer(size),), (copy(size, "tok", "out", size.gain * strength),))


def induction_expectations(size: Size, margin: float = 1.0) -> Expectations:
    loss, uniform = copy_loss(size), math.log(size.d_vocab)
    known = Expectations(size, margin).add("accuracy", 1.0).add("loss", loss)
    known.add("next-token accuracy", 1.0).add("next-token loss", loss)
    return known.add_orders([uniform, loss, loss])


def induction_k(size: Size) -> Handmade:
    plan = Plan(
        size,
        size.widths(by_token="tok prev out", by_position="pos"),
        ((previous_token_head(size),), (matching_head(size),)),
    )
    known = induction_expectations(size)
    known.add("previous-token", 1.0, FIRST).add("prefix-matching", 0.0, FIRST).add("prefix-matching", 1.0, SECOND)
    known.add("loss without", even_attention_loss(size), FIRST)
    known.add("loss without (patterns held)", copy_loss(size), FIRST)
    known.add("loss without", math.log(size.d_vocab), SECOND)
    known.add_compositions(plan, {("K", (FIRST, SECOND)): 1 / math.sqrt(size.d_vocab)})
    known.add_paths({**FED, (SECOND,): size.gain}).add("K-matching", 1.0, FIRST, SECOND)
    known.add("token matching", 0.0, SECOND)
    answers = next_in_copy(repeated_tokens(size))
    return finish("induction_k", "Induction by K-composition.", plan, known, answers, "K")


def induction_q(size: Size, recency: float = RECENCY) -> Handmade:
    check_recency(recency)
    plan = Plan(
        size,
        size.widths(by_token="tok out", by_position="pos ptr"),
        ((duplicate_token_head(size, recency),), (following_head(size),)),
    )
    known = induction_expectations(size, margin=0.5)
    known.add("duplicate-token", 1.0, FIRST).add("prefix-matching", 0.0, FIRST).add("prefix-matching", 1.0, SECOND)
    known.add("loss without", even_attention_loss(size), FIRST)
    known.add("loss without (patterns held)", copy_loss(size), FIRST)
    known.add("loss without", math.log(size.d_vocab), SECOND)
    known.add_compositions(plan, {("Q", (FIRST, SECOND)): 1 / math.sqrt(size.n_ctx)})
    known.add_paths({**FED, (SECOND,): size.gain}).add("pointer", 1.0, FIRST, SECOND)
    known.add("token matching", 0.0, SECOND)
    answers = next_in_copy(repeated_tokens(size))
    return finish("induction_q", "Induction by Q-composition: pointer arithmetic.", plan, known, answers, "Q")


def check_recency(recency: float) -> None:
    if not (math.isfinite(recency) and recency >= 0):
        raise InputError(f"recency must be 0 or above, got {recency!r}")


def induction_both(size: Size, recency: float = RECENCY) -> Handmade:
    """Two induction heads that each give half the logit, one fed by K-composition and one by Q-composition."""
    check_recency(recency)
    plan = Plan(
        size,
        size.widths(by_token="tok prev out", by_position="pos ptr"),
        (
            (previous_token_head(size), duplicate_token_head(size, recency)),
            (matching_head(size, 0.5), following_head(size, 0.5)),
        ),
    )
    known = induction_expectations(size, margin=0.5)
    known.add("previous-token", 1.0, (0, 0)).add("duplicate-token", 1.0, (0, 1))
    for index in range(2):
        known.add("prefix-matching", 0.0, (0, index)).add("prefix-matching", 1.0, (1, index))
        known.add("loss without", even_attention_loss(size, strength=0.5, sure=0.5), (0, index))
        known.add("loss without (patterns held)", copy_loss(size), (0, index))
        known.add("loss without", copy_loss(size, 0.5), (1, index)).add("token matching", 0.0, (1, index))
    known.add("loss without", even_attention_loss(size), (0, 0), (0, 1))
    known.add("loss without", math.log(size.d_vocab), (1, 0), (1, 1))
    known.add_compositions(
        plan, {("K", ((0, 0), (1, 0))): 1 / math.sqrt(size.d_vocab), ("Q", ((0, 1), (1, 1))): 1 / math.sqrt(size.n_ctx)}
    )
    known.add("K-matching", 1.0, (0, 0), (1, 0)).add("pointer", 1.0, (0, 1), (1, 1))
    known.add_paths({((1, 0),): size.gain / 2, ((1, 1),): size.gain / 2} | {((0, i),): 0.0 for i in range(2)})
    summary = "Induction twice over, by K-composition and by Q-composition in different heads."
    return finish("induction_both", summary, plan, known, next_in_copy(repeated_tokens(size)), "K and Q")


def induction_shared(size: Size, share: Literal["strength", "tokens"] = "strength") -> Handmade:
    """`share`: both feeding heads carry every token at half strength (either suffices), or half the tokens each."""
    everything = torch.eye(size.d_vocab, dtype=torch.float64)
    carried = [everything / 2] * 2
    if share == "tokens":
        lower = torch.arange(size.d_vocab)[:, None] < size.d_vocab // 2
        carried = [everything * lower, everything * ~lower]
    feeding = tuple(HeadPlan("previous-token", (look_back(size),), (Move("tok", "prev", c),)) for c in carried)
    widths = size.widths(by_token="tok prev out", by_position="pos")
    plan = Plan(size, widths, (feeding, (matching_head(size), IDLE)))
    known = induction_expectations(size, margin=0.5).add("prefix-matching", 1.0, SECOND)
    for index, loss in enumerate(losses_without_a_feed(size, share)):
        known.add("previous-token", 1.0, (0, index)).add("loss without", loss, (0, index))
        known.add("loss without (patterns held)", copy_loss(size), (0, index))
        known.add("K-matching", 1.0, (0, index), SECOND)
    known.add("loss without", even_attention_loss(size), (0, 0), (0, 1))
    score = 1 / math.sqrt(size.d_vocab)
    known.add_compositions(plan, {("K", ((0, 0), SECOND)): score, ("K", ((0, 1), SECOND)): score})
    known.add_paths({(SECOND,): size.gain} | {((0, i),): 0.0 for i in range(2)}).add("token matching", 0.0, SECOND)
    summary = f"Induction by K-composition with two previous-token heads that share the work by {share}."
    return finish("induction_shared", summary, plan, known, next_in_copy(repeated_tokens(size)), "K")


def losses_without_a_feed(size: Size, share: str) -> tuple[float, float]:
    """Without the first or the second feeding head: unchanged, or even attention from the tokens it carried."""
    if share == "strength":
        return copy_loss(size), copy_loss(size)
    queries = repeated_tokens(size)[:, 1 + size.period : -1]
    in_lower = queries < size.d_vocab // 2
    even = torch.tensor(even_attention_losses(size), dtype=torch.float64)
    lost = (torch.where(half, even, copy_loss(size)).mean().item() for half in (in_lower, ~in_lower))
    return next(lost), next(lost)


def induction_smeared(size: Size, smear: float = -40.0) -> Handmade:
    """One layer whose keys are those of the token before: share sigmoid(smear) of a key stays the token's own."""
    if not -700 <= smear <= -20:
        raise InputError(f"smear must lie between -700 and -20, so that the keys are those before, got {smear!r}")
    head = HeadPlan("induction", (same(size, "tok", "tok"),), (copy(size, "tok", "out", size.gain),))
    plan = Plan(size, size.widths(by_token="tok out"), ((head,),), smear=smear)
    known = Expectations(size).add("accuracy", 1.0).add("loss", copy_loss(size)).add("next-token accuracy", 1.0)
    known.add_orders([math.log(size.d_vocab), copy_loss(size)])
    known.add("prefix-matching", 1.0, FIRST).add("loss without", math.log(size.d_vocab), FIRST)
    known.add_paths({(FIRST,): size.gain}).add("token matching", size.sharpness, FIRST)
    summary = "Induction in one layer with smeared keys and no positions: nothing to compose with."
    return finish("induction_smeared", summary, plan, known, next_in_copy(repeated_tokens(size)), "smeared keys")
