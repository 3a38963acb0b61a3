"""A handmade model: the transformer, its truth, and example tokens on which the truth's numbers hold."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from toy_models.handmade.blocks import Plan, Size, build, edges
from toy_models.handmade.truth import Composition, Expected, HeadIndex, Truth
from toy_models.transformer import Transformer

NO_ANSWER = -1
"""Stands in `answers` where the model says nothing that can be known beforehand."""
Pair = tuple[HeadIndex, HeadIndex]
Paths = Mapping[tuple[HeadIndex], float] | Mapping[tuple[HeadIndex, ...], float]
"""Something of every path, by the heads that it goes through, earliest first."""


@dataclass(frozen=True)
class Handmade:
    """`answers[b, p]` is the token that the model predicts at p, or -1 where that is left open; `repeated[b, p]` says
    that the token at p has come before. `labels` are the tokens' names, the first being the one that begins every
    sequence."""

    model: Transformer
    truth: Truth
    example_tokens: Int[Tensor, "batch pos"]
    answers: Int[Tensor, "batch pos"]
    repeated: Bool[Tensor, "batch pos"]
    labels: tuple[str, ...]


def repeated_tokens(
    size: Size, period: int | None = None, repeats: int = 2, n: int = 4, seed: int = 0
) -> Int[Tensor, "batch pos"]:
    """Token 0, then a block of `period` different tokens `repeats` times over; another block in every row."""
    generator = torch.Generator().manual_seed(seed)
    length = size.period if period is None else period
    blocks = torch.stack([1 + torch.randperm(size.d_vocab - 1, generator=generator)[:length] for _ in range(n)])
    return torch.cat([torch.zeros(n, 1, dtype=blocks.dtype), blocks.repeat(1, repeats)], dim=1)


def seen_before(tokens: Int[Tensor, "batch pos"]) -> Bool[Tensor, "batch pos"]:
    """Whether the token at a position stands at an earlier one too."""
    return (tokens[:, :, None] == tokens[:, None, :]).tril(-1).any(-1)


def next_in_copy(tokens: Int[Tensor, "batch pos"]) -> Int[Tensor, "batch pos"]:
    """The next token where the present one has come before, -1 elsewhere and at the end."""
    answers = torch.full_like(tokens, NO_ANSWER)
    known = seen_before(tokens)[:, :-1]
    answers[:, :-1] = torch.where(known, tokens[:, 1:], NO_ANSWER)
    return answers


def steps_before(tokens: Int[Tensor, "batch pos"], by: int) -> Int[Tensor, "batch pos"]:
    """The token `by` positions back, -1 at the first `by` positions."""
    answers = torch.full_like(tokens, NO_ANSWER)
    answers[:, by:] = tokens[:, : tokens.shape[1] - by]
    return answers


def present_if_seen(tokens: Int[Tensor, "batch pos"]) -> Int[Tensor, "batch pos"]:
    """The present token where it has come before, -1 elsewhere."""
    return torch.where(seen_before(tokens), tokens, NO_ANSWER)


def copy_loss(size: Size, strength: float = 1.0) -> float:
    """Nats when one token has logit gain * strength and all others 0: ln(1 + (V - 1) e^-logit)."""
    return math.log1p((size.d_vocab - 1) * math.exp(-size.gain * strength))


def even_attention_losses(size: Size, strength: float = 1.0, sure: float = 0.0) -> list[float]:
    """Nats at each answered position of the example, when a head copies with even attention (K model unfed).

    At the i-th token of the second block (i = 1..L-1), n = L + i + 1 tokens are seen: i twice, L - i and token 0
    once. With g = gain * strength / n, and gain * sure added to the next token (which is seen once) by some other
    head, that costs ln(i e^2g + (L - i) e^g + e^(g + gain sure) + V - L - 1) - g - gain sure.
    """
    length, known = size.period, size.gain * sure
    unseen, losses = size.d_vocab - length - 1, []
    for i in range(1, length):
        g = size.gain * strength / (length + i + 1)
        total = i * math.exp(2 * g) + (length - i) * math.exp(g) + math.exp(g + known) + unseen
        losses.append(math.log(total) - g - known)
    return losses


def even_attention_loss(size: Size, strength: float = 1.0, sure: float = 0.0) -> float:
    """Mean of `even_attention_losses`."""
    losses = even_attention_losses(size, strength, sure)
    return sum(losses) / len(losses)


class Expectations:
    """Collects a model's expected values, all with one tolerance: rounding, and what softmax leaves elsewhere.

    The latter is at most n_ctx e^-(margin * sharpness) of the attention, where the best score leads by
    margin * sharpness, and counts gain times in a logit.
    """

    def __init__(self, size: Size, margin: float = 1.0):
        rounding = 1e-9 if size.dtype == torch.float64 else 2e-5
        self.tolerance = rounding + (1 + size.gain) * size.n_ctx * math.exp(-margin * size.sharpness)
        self.list: list[Expected] = []

    def add(self, quantity: str, value: float, *at: HeadIndex) -> "Expectations":
        self.list.append(Expected(quantity, value, self.tolerance, at))
        return self

    def add_orders(self, losses: Iterable[float]) -> "Expectations":
        """Order-0, order-1, ... losses."""
        for order, loss in enumerate(losses):
            self.add(f"order-{order} loss", loss)
        return self

    def add_paths(self, logits: Paths, copying: float | None = None) -> "Expectations":
        """Signed logits by path, the direct path's being 0; path copying is their sign unless it is given."""
        for heads, logit in [((), 0.0), *logits.items()]:
            self.add("path logit", abs(logit), *heads)
            if logit:
                self.add("path copying", math.copysign(1.0, logit) if copying is None else copying, *heads)
        return self

    def add_compositions(self, plan: Plan, scores: Mapping[tuple[str, Pair], float]) -> "Expectations":
        """The scores given by (channel, (earlier, later)); 0 for all other pairs of heads that read and write."""
        live = [at for at, head in plan.heads() if head.matches and head.moves]
        for earlier in live:
            for later in live:
                if earlier[0] < later[0]:
                    for channel in "QKV":
                        value = scores.get((channel, (earlier, later)), 0.0)
                        self.add(f"{channel}-composition", value, earlier, later)
        return self


def finish(
    name: str,
    summary: str,
    plan: Plan,
    expectations: Expectations,
    answers: Int[Tensor, "batch pos"],
    composition: Composition | None = None,
    tokens: Int[Tensor, "batch pos"] | None = None,
    labels: tuple[str, ...] | None = None,
) -> Handmade:
    """Builds the weights and puts everything together."""
    example = repeated_tokens(plan.size) if tokens is None else tokens
    truth = Truth(name, summary, plan.roles, edges(plan), tuple(expectations.list), composition)
    named = default_labels(plan.size.d_vocab) if labels is None else labels
    return Handmade(build(plan), truth, example, answers, seen_before(example), named)


def default_labels(d_vocab: int) -> tuple[str, ...]:
    return ("<bos>", *(f"t{i}" for i in range(1, d_vocab)))
