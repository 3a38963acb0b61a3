"""One head with a table of skip-trigrams, and the mistakes it cannot help making (Elhage et al. 2021).

Attention is set by (source word, present word), the output by (source word, next word): two factors. From "keep ...
in mind" and "keep ... at bay" the head therefore also makes "keep ... in bay" and "keep ... at mind", with the same
logits.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toy_models.errors import InputError
from toy_models.handmade.blocks import HeadPlan, Match, Move, Plan, Size
from toy_models.handmade.induction import FIRST
from toy_models.handmade.model import NO_ANSWER, Expectations, Handmade, finish

Table = tuple[tuple[str, str, str], ...]
KEEP: Table = (("keep", "in", "mind"), ("keep", "at", "bay"))


def skip_trigram(size: Size, table: Table = KEEP) -> Handmade:
    """`table`: (source, present, next) words. Where no source stands before the present word, it attends to token 0."""
    labels = words_of(size, table)
    entries = [tuple(labels.index(word) for word in entry) for entry in table]
    attend = torch.zeros(size.d_vocab, size.d_vocab, dtype=torch.float64)
    attend[:, 0] = size.sharpness / 2
    write = torch.zeros_like(attend)
    for source, present, following in entries:
        attend[present, source] = size.sharpness
        write[source, following] = size.gain
    head = HeadPlan("skip-trigram", (Match("tok", "tok", attend),), (Move("tok", "out", write),))
    plan = Plan(size, size.widths(by_token="tok out"), ((head,),))
    tokens, answers = example(entries, len({word for entry in table for word in entry}) + 1)
    loss = mean_loss(size, entries, write)
    known = Expectations(size, margin=0.5).add("loss", loss).add_orders([math.log(size.d_vocab), loss])
    known.add("loss without", math.log(size.d_vocab), FIRST).add("token matching", size.sharpness, FIRST)
    known.add("path logit", 0.0).add("path logit", size.gain, FIRST)
    summary = "Skip-trigrams " + ", ".join(f"{a}..{b}→{c}" for a, b, c in table) + " and those that follow from them."
    return finish("skip_trigram", summary, plan, known, answers, tokens=tokens, labels=labels)


def words_of(size: Size, table: Table) -> tuple[str, ...]:
    """Token 0, the table's words in order, then fillers."""
    if not table or any(len(entry) != 3 for entry in table):
        raise InputError(f"table must hold (source, present, next) words, got {table!r}")
    words = list(dict.fromkeys(word for entry in table for word in entry))
    if "<bos>" in words:
        raise InputError("table must not use <bos>, which begins every sequence")
    clash = {source for source, _, _ in table} & {present for _, present, _ in table}
    if clash:
        raise InputError(f"a word cannot be both source and present word: {sorted(clash)[0]!r}")
    fillers = size.d_vocab - 1 - len(words)
    if fillers < 1:
        raise InputError(f"table has {len(words)} words: d_vocab must be at least {len(words) + 2}, got {size.d_vocab}")
    return ("<bos>", *words, *(f"w{i}" for i in range(fillers)))


def example(entries: list[tuple[int, ...]], filler: int) -> tuple[Int[Tensor, "batch pos"], Int[Tensor, "batch pos"]]:
    """One row for each entry: <bos> filler source filler present filler; the answer stands at the present word."""
    rows = [[0, filler, source, filler, present, filler] for source, present, _ in entries]
    tokens = torch.tensor(rows)
    answers = torch.full_like(tokens, NO_ANSWER)
    answers[:, 4] = torch.tensor([following for _, _, following in entries])
    return tokens, answers


def mean_loss(size: Size, entries: list[tuple[int, ...]], write: Float[Tensor, "source next"]) -> float:
    """Mean of ln(k + (V - k) e^-gain), where k words follow the entry's source in the table."""
    k = [int((write[source] > 0).sum()) for source, _, _ in entries]
    return sum(math.log(n + (size.d_vocab - n) * math.exp(-size.gain)) for n in k) / len(k)
