"""Models that share a feature with induction and are none: what a detector must not be taken in by.

`literal_previous` and `literal_current` are two wordings of "layer 2 looks for the query's token and returns what
layer 1 found there" carried out to the letter.
"""

import math
from typing import Literal

import torch

from toy_models.errors import InputError
from toy_models.handmade.blocks import HeadPlan, Move, Plan, Size
from toy_models.handmade.induction import FED, FIRST, SECOND, previous_token_head
from toy_models.handmade.model import (
    NO_ANSWER,
    Expectations,
    Handmade,
    copy_loss,
    finish,
    next_in_copy,
    present_if_seen,
    repeated_tokens,
    steps_before,
)
from toy_models.handmade.tables import copy, look_back, same


def two_layers(size: Size, second: HeadPlan, extra_blocks: str = "") -> Plan:
    """A previous-token head that fills block `prev`, then `second`."""
    widths = size.widths(by_token=f"tok prev out {extra_blocks}", by_position="pos")
    return Plan(size, widths, ((previous_token_head(size),), (second,)))


def wrong_loss(size: Size, logit: float | None = None) -> float:
    """Nats when some other token has the logit (the gain, by default) and the next one 0."""
    value = size.gain if logit is None else logit
    return math.log(size.d_vocab - 1 + math.exp(value))


def unread_previous_token(size: Size) -> Handmade:
    look = HeadPlan("current-token", (look_back(size, 0),), (copy(size, "tok", "out", size.gain),))
    plan = two_layers(size, look)
    known = Expectations(size).add("accuracy", 1.0).add("loss", copy_loss(size)).add("next-token accuracy", 0.0)
    known.add("next-token loss", wrong_loss(size))
    known.add_orders([math.log(size.d_vocab), copy_loss(size), copy_loss(size)])
    known.add("previous-token", 1.0, FIRST).add("current-token", 1.0, SECOND).add("prefix-matching", 0.0, SECOND)
    known.add("loss without", copy_loss(size), FIRST).add_compositions(plan, {})
    known.add_paths({**FED, (SECOND,): size.gain})
    summary = "A previous-token head that nobody reads; layer 1 predicts the present token."
    return finish("unread_previous_token", summary, plan, known, repeated_tokens(size))


def no_copy(size: Size, writes: Literal["another token", "nothing"] = "another token") -> Handmade:
    """`writes`: the token listed after the one attended to (an OV circuit of trace 0), or nothing that is read."""
    translate = writes == "another token"
    wheel = torch.eye(size.d_vocab, dtype=torch.float64).roll(1, dims=1)
    move = Move("tok", "out", size.gain * wheel) if translate else copy(size, "tok", "unread", size.gain)
    plan = two_layers(size, HeadPlan("induction-pattern", (same(size, "tok", "prev"),), (move,)), "unread")
    loss = wrong_loss(size) if translate else math.log(size.d_vocab)
    tokens = repeated_tokens(size)
    answers, following = torch.full_like(tokens, NO_ANSWER), next_in_copy(tokens)
    known = Expectations(size).add("next-token loss", loss)
    if translate:
        answers = torch.where(following == NO_ANSWER, NO_ANSWER, (following + 1) % size.d_vocab)
        known.add("next-token accuracy", 0.0).add("accuracy", 1.0).add("loss", copy_loss(size))
        known.add_orders([math.log(size.d_vocab), copy_loss(size), copy_loss(size)])
    known.add("previous-token", 1.0, FIRST).add("prefix-matching", 1.0, SECOND)
    known.add("next-token loss without", math.log(size.d_vocab), SECOND)
    known.add_compositions(plan, {("K", (FIRST, SECOND)): 1 / math.sqrt(size.d_vocab)})
    known.add("K-matching", 1.0, FIRST, SECOND).add("token matching", 0.0, SECOND)
    known.add_paths({**FED, (SECOND,): size.gain if translate else 0.0}, copying=0.0)
    summary = f"Attention as in induction by K-composition, but the second head writes {writes}."
    return finish("no_copy", summary, plan, known, answers)


def anti_copying(size: Size) -> Handmade:
    head = HeadPlan("anti-copying", (same(size, "tok", "prev"),), (copy(size, "tok", "out", -size.gain),))
    plan = two_layers(size, head)
    tokens = repeated_tokens(size)
    loss = size.gain + math.log(size.d_vocab - 1 + math.exp(-size.gain))
    known = Expectations(size).add("next-token accuracy", 0.0).add("next-token loss", loss)
    known.add("previous-token", 1.0, FIRST).add("prefix-matching", 1.0, SECOND)
    known.add("next-token loss without", math.log(size.d_vocab), SECOND)
    known.add_compositions(plan, {("K", (FIRST, SECOND)): 1 / math.sqrt(size.d_vocab)})
    known.add("K-matching", 1.0, FIRST, SECOND).add("token matching", 0.0, SECOND)
    known.add_paths({**FED, (SECOND,): -size.gain})
    summary = "Attention as in induction by K-composition; the second head suppresses the token it attends to."
    return finish("anti_copying", summary, plan, known, torch.full_like(tokens, NO_ANSWER))


def literal_previous(size: Size) -> Handmade:
    head = HeadPlan("literal-previous", (same(size, "tok", "tok"),), (copy(size, "prev", "out", size.gain),))
    plan = two_layers(size, head)
    tokens = repeated_tokens(size)
    answers = steps_before(tokens, 1)
    answers[:, 1 + size.period] = NO_ANSWER  # the copies of this token have different tokens before them
    known = Expectations(size).add("accuracy", 1.0).add("loss", copy_loss(size)).add("next-token accuracy", 0.0)
    known.add_orders([math.log(size.d_vocab), math.log(size.d_vocab), copy_loss(size)])
    known.add("previous-token", 1.0, FIRST).add("prefix-matching", 0.0, SECOND).add("duplicate-token", 0.5, SECOND)
    known.add("loss without", math.log(size.d_vocab), FIRST).add("loss without", math.log(size.d_vocab), SECOND)
    known.add("loss without (patterns held)", math.log(size.d_vocab), FIRST)
    known.add_compositions(plan, {("V", (FIRST, SECOND)): 1 / math.sqrt(size.d_vocab)})
    known.add_paths({(FIRST,): 0.0, (SECOND,): 0.0, (FIRST, SECOND): size.gain})
    known.add("token matching", size.sharpness, SECOND)
    summary = "Key token equals query token, return the previous layer's output: predicts the token before."
    return finish("literal_previous", summary, plan, known, answers)


def literal_current(size: Size) -> Handmade:
    head = HeadPlan("literal-current", (same(size, "tok", "prev"),), (copy(size, "prev", "out", size.gain),))
    plan = two_layers(size, head)
    tokens = repeated_tokens(size)
    known = Expectations(size).add("accuracy", 1.0).add("loss", copy_loss(size)).add("next-token accuracy", 0.0)
    known.add("next-token loss", wrong_loss(size))
    known.add_orders([math.log(size.d_vocab), math.log(size.d_vocab), copy_loss(size)])
    known.add("previous-token", 1.0, FIRST).add("prefix-matching", 1.0, SECOND)
    known.add("loss without", math.log(size.d_vocab), FIRST).add("loss without", math.log(size.d_vocab), SECOND)
    known.add("loss without (patterns held)", math.log(size.d_vocab), FIRST)
    score = 1 / math.sqrt(size.d_vocab)
    known.add_compositions(plan, {("K", (FIRST, SECOND)): score, ("V", (FIRST, SECOND)): score})
    known.add_paths({(FIRST,): 0.0, (SECOND,): 0.0, (FIRST, SECOND): size.gain})
    known.add("K-matching", 1.0, FIRST, SECOND).add("token matching", 0.0, SECOND)
    summary = "Match the remembered previous token and return that word: predicts the present token."
    return finish("literal_current", summary, plan, known, present_if_seen(tokens))


def positional(size: Size, period: int | None = None) -> Handmade:
    """`period`: the one on which it looks inductive; the example's by default."""
    length = size.period if period is None else period
    if not 3 <= length <= size.period:
        raise InputError(f"period must lie between 3 and {size.period}, got {period}")
    head = HeadPlan("positional", (look_back(size, length - 1),), (copy(size, "tok", "out", size.gain),))
    plan = two_layers(size, head)
    tokens = repeated_tokens(size, length)
    known = Expectations(size).add("accuracy", 1.0).add("loss", copy_loss(size))
    known.add("next-token accuracy", 1.0).add("next-token loss", copy_loss(size))
    known.add_orders([math.log(size.d_vocab), copy_loss(size), copy_loss(size)])
    known.add("previous-token", 1.0, FIRST).add("prefix-matching", 1.0, SECOND)
    known.add("loss without", copy_loss(size), FIRST).add("loss without", math.log(size.d_vocab), SECOND)
    known.add_compositions(plan, {}).add_paths({**FED, (SECOND,): size.gain}).add("token matching", 0.0, SECOND)
    summary = f"Attends {length - 1} back whatever the tokens are: looks inductive at period {length} only."
    return finish("positional", summary, plan, known, next_in_copy(tokens), tokens=tokens)
