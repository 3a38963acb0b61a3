"""Models without a circuit: weights drawn at random, in the size of a handmade one."""

import itertools
import math
from typing import Literal

import torch

from toy_models.handmade.blocks import Size
from toy_models.handmade.chains import two_back
from toy_models.handmade.induction import induction_k, induction_q
from toy_models.handmade.model import NO_ANSWER, Handmade, default_labels, repeated_tokens, seen_before
from toy_models.handmade.truth import Channel, Edge, Expected, HeadIndex, Node, Truth
from toy_models.transformer import Transformer

Shape = Literal["induction_k", "induction_q", "two_back"]
SHAPES = {"induction_k": induction_k, "induction_q": induction_q, "two_back": two_back}


def random_weights(size: Size, of: Shape = "induction_k", seed: int = 0) -> Handmade:
    """Gaussian weights; every matrix (each head's by itself) has the Frobenius norm that it has in model `of`."""
    source, generator = SHAPES[of](size).model, torch.Generator().manual_seed(seed)
    model = Transformer(source.config, generator).to(size.dtype)
    with torch.no_grad():
        for drawn, made in zip(model.parameters(), source.parameters(), strict=True):
            drawn.mul_(made.norm(dim=(-2, -1), keepdim=True) / drawn.norm(dim=(-2, -1), keepdim=True))
    return control("random_weights", f"Random weights with the norms of {of}.", model, size)


def untrained(size: Size, of: Shape = "induction_k", seed: int = 0) -> Handmade:
    """As our transformer is initialised before training, in the size of model `of`."""
    model = Transformer(SHAPES[of](size).model.config, torch.Generator().manual_seed(seed)).to(size.dtype)
    return control("untrained", f"Weights as before training, in the size of {of}.", model, size)


def control(name: str, summary: str, model: Transformer, size: Size) -> Handmade:
    config, tokens = model.config, repeated_tokens(size)
    heads = [(layer, index) for layer in range(config.n_layers) for index in range(config.n_heads)]
    truth = Truth(name, summary, dict.fromkeys(heads, "random"), all_edges(heads), by_chance(model, heads, size))
    answers = torch.full_like(tokens, NO_ANSWER)
    return Handmade(model, truth, tokens, answers, seen_before(tokens), default_labels(size.d_vocab))


def all_edges(heads: list[HeadIndex]) -> frozenset[Edge]:
    """Every source into every later reader."""
    sources: list[Node] = ["token", "position", *heads]
    channels: tuple[Channel, ...] = ("Q", "K", "V")
    within = {
        Edge(source, head, channel)
        for source, head, channel in itertools.product(sources, heads, channels)
        if isinstance(source, str) or source[0] < head[0]
    }
    return frozenset(within | {Edge(source, "logits", "logits") for source in sources})


def by_chance(model: Transformer, heads: list[HeadIndex], size: Size) -> tuple[Expected, ...]:
    """What chance gives: 1/V of the answers, 1/n of the attention to one of n tokens, composition of 1/sqrt(d_model).

    The last is the root mean square over draws; the tolerances are what one draw may be off.
    """
    repeated = range(size.period + 1, 2 * size.period + 1)
    even = sum(1 / (p + 1) for p in repeated) / size.period
    known = [Expected("next-token accuracy", 1 / size.d_vocab, 0.2)]
    known += [Expected("prefix-matching", even, 0.2, (head,)) for head in heads]
    chance = 1 / math.sqrt(model.config.d_model)
    for earlier, later in itertools.product(heads, heads):
        if earlier[0] < later[0]:
            known += [Expected(f"{c}-composition", chance, 0.3 * chance, (earlier, later)) for c in "QKV"]
    return tuple(known)
