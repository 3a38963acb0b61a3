"""One layer, one head, one thing it does."""

import math

from jaxtyping import Int
from torch import Tensor

from toy_models.errors import InputError
from toy_models.handmade.blocks import HeadPlan, Plan, Size
from toy_models.handmade.induction import FIRST, RECENCY, check_recency
from toy_models.handmade.model import Expectations, Handmade, copy_loss, finish, repeated_tokens, steps_before
from toy_models.handmade.tables import copy, look_at_copy, look_at_first, look_back


def copying_head(
    name: str,
    summary: str,
    size: Size,
    head: HeadPlan,
    answers: Int[Tensor, "batch pos"],
    score: str | None,
    margin: float = 1.0,
) -> Handmade:
    """One head that copies, with `score` of 1."""
    plan = Plan(size, size.widths(by_token="tok out", by_position="pos"), ((head,),))
    known = Expectations(size, margin).add("accuracy", 1.0).add("loss", copy_loss(size)).add("next-token accuracy", 0.0)
    known.add_orders([math.log(size.d_vocab), copy_loss(size)]).add("loss without", math.log(size.d_vocab), FIRST)
    known.add("prefix-matching", 0.0, FIRST).add_paths({(FIRST,): size.gain})
    if score:
        known.add(score, 1.0, FIRST)
    return finish(name, summary, plan, known, answers)


def previous_token(size: Size) -> Handmade:
    head = HeadPlan("previous-token", (look_back(size),), (copy(size, "tok", "out", size.gain),))
    answers = steps_before(repeated_tokens(size), 1)
    return copying_head("previous_token", "Predicts the token before.", size, head, answers, "previous-token")


def shift_by(size: Size, by: int = 2) -> Handmade:
    """`by`: how far back it looks."""
    furthest = size.period - 2
    if not 1 <= by <= furthest:
        raise InputError(f"by must lie between 1 and {furthest}, got {by}")
    role, score = ("previous-token", "previous-token") if by == 1 else ("shift", None)
    head = HeadPlan(role, (look_back(size, by),), (copy(size, "tok", "out", size.gain),))
    answers = steps_before(repeated_tokens(size), by)
    return copying_head("shift_by", f"Predicts the token {by} back.", size, head, answers, score)


def current_token(size: Size) -> Handmade:
    head = HeadPlan("current-token", (look_back(size, 0),), (copy(size, "tok", "out", size.gain),))
    summary = "Attends to itself by position and predicts the present token."
    return copying_head("current_token", summary, size, head, repeated_tokens(size), "current-token")


def duplicate_token(size: Size, recency: float = RECENCY) -> Handmade:
    """`recency`: lead in score of a copy over one that is a step further back; 0 shares attention evenly."""
    check_recency(recency)
    head = HeadPlan("duplicate-token", look_at_copy(size, recency), (copy(size, "tok", "out", size.gain),))
    summary = "Attends to an earlier copy of the present token, else to itself, and predicts it again."
    return copying_head("duplicate_token", summary, size, head, repeated_tokens(size), "duplicate-token", 0.5)


def first_token_sink(size: Size) -> Handmade:
    plan = Plan(
        size,
        size.widths(by_token="tok out", by_position="pos"),
        ((HeadPlan("first-token", (look_at_first(size),)),),),
    )
    known = Expectations(size).add("first-token", 1.0, FIRST).add("next-token loss", math.log(size.d_vocab))
    known.add("next-token loss without", math.log(size.d_vocab), FIRST).add_paths({(FIRST,): 0.0})
    answers = repeated_tokens(size).fill_(-1)
    return finish("first_token_sink", "Attends to position 0 and writes nothing.", plan, known, answers)
