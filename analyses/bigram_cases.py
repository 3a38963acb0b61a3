"""Bigrams to ask of a model without layers, and how near tied embeddings can come to them, in closed form."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import InputError

Bigrams = Float[Tensor, "token next"]
"""P(next | token) or its logarithm, a row for each present token."""


def divergence(wanted: Bigrams, log_probs: Bigrams) -> Float[Tensor, ""]:
    """KL(wanted || model), the mean over present tokens, in nats."""
    return (wanted * (wanted.log() - log_probs)).sum(-1).mean()


@dataclass(frozen=True)
class Case:
    """Bigrams that are asked for, and the divergence of the best model of each kind where it is known."""

    name: str
    tokens: tuple[str, ...]
    wanted: Bigrams
    theory: Mapping[str, float | None]
    """By kind of model; None where only its measurement says it."""
    by_hand: Float[Tensor, "token d"] | None = None
    """Tied embeddings that should give exactly what is wanted."""

    @property
    def cycle(self) -> tuple[int, ...] | None:
        """The first three tokens, if there are so many."""
        return (0, 1, 2) if len(self.tokens) > 2 else None


def pair_case(forward: float = 0.9, back: float = 0.01) -> Case:
    """Barack is followed by Obama with probability `forward`, Obama by Barack with `back`, else by itself.

    Two embeddings on a line give it exactly (`pair_embeddings`, whose limits hold here too). Vectors of one length give
    q = P(Obama|Barack) = P(Barack|Obama) <= 1/2; the best is q = (forward + back) / 2, or 1/2 if that is less.
    """
    by_hand = pair_embeddings(forward, back)
    wanted = torch.tensor([[1 - forward, forward], [back, 1 - back]], dtype=torch.float64)
    q = min((forward + back) / 2, 0.5)
    even = torch.tensor([[1 - q, q], [q, 1 - q]], dtype=torch.float64)
    equal = float(divergence(wanted, even.log()))
    exact = dict.fromkeys(("untied", "symmetric", "tied, by hand", "tied"), 0.0)
    return Case("Barack Obama", ("Barack", "Obama"), wanted, exact | {"tied, equal lengths": equal}, by_hand)


def pair_embeddings(forward: float, back: float) -> Float[Tensor, "token one"]:
    """The shortest tied embeddings with P(Obama|Barack) = forward and P(Barack|Obama) = back: b and b + m / b.

        m = ln forward / (1 - forward),    b^2 = m^2 / (ln (1 - back) / back - m)

    Raises `InputError` unless 1/2 < forward < 1 and 0 < back < 1 - forward: Obama must predict itself more surely than
    Barack predicts Obama.
    """
    if not 0.5 < forward < 1 or not 0 < back < 1 - forward:
        raise InputError(f"needs 1/2 < forward < 1 and 0 < back < 1 - forward, got {forward} and {back}")
    m, own = math.log(forward / (1 - forward)), math.log((1 - back) / back)
    b = m / math.sqrt(own - m)
    return torch.tensor([[b], [b + m / b]], dtype=torch.float64)


def cycle_case(smoothing: float = 0.1) -> Case:
    """A -> B -> C -> A with probability 1 - smoothing; the rest is shared by the two other tokens.

    The divergence is convex in S and does not change when the tokens are turned round, so the best S may be averaged
    over the three turns: it is a on the diagonal and b elsewhere, and every token is followed by itself with
    probability q, by either other one with (1 - q) / 2. A symmetric S can have any q; the best is smoothing / 2, the
    share of the diagonal. Inner products have a >= b, so q >= 1/3: the best is 1/3, all tokens alike, at ln 3 minus the
    entropy of a row, while smoothing < 2/3.
    Raises `InputError` unless 0 < smoothing < 2/3.
    """
    check_smoothing(smoothing)
    eye = torch.eye(3, dtype=torch.float64)
    wanted = (1 - smoothing) * eye.roll(1, 1) + smoothing / 2 * (eye + eye.roll(2, 1))
    q = smoothing / 2
    any_table = q * eye + (1 - q) / 2 * (1 - eye)
    best, uniform = (float(divergence(wanted, table.log())) for table in (any_table, torch.full_like(eye, 1 / 3)))
    theory = {"untied": 0.0, "symmetric": best, "tied": uniform, "tied, equal lengths": uniform}
    return Case("cycle", ("A", "B", "C"), wanted, theory)


def onward_case(smoothing: float = 0.1) -> Case:
    """Barack -> Obama -> said with probability 1 - smoothing, then anything.

    Long vectors L + a_y / L on one line have S_xy = L^2 + a_x + a_y + a_x a_y / L^2: in the limit the same next-token
    probabilities, of any values, after every token. What is best among all tied embeddings is then the unigram
    distribution u, and the divergence the mutual information of present and next token, if the gradient there,
    G = (1 u^T - P) / V made symmetric, has no negative eigenvalue: roughly, if tokens follow themselves less than by
    chance.
    Raises `InputError` unless 0 < smoothing < 2/3.
    """
    check_smoothing(smoothing)
    rest = smoothing / 2
    rows = [[rest, 1 - smoothing, rest], [rest, rest, 1 - smoothing], [1 / 3, 1 / 3, 1 / 3]]
    wanted = torch.tensor(rows, dtype=torch.float64)
    unigram = wanted.mean(0).expand_as(wanted)
    excess = (unigram - wanted + (unigram - wanted).T) / 2
    limited = float(torch.linalg.eigvalsh(excess).min()) >= -1e-12
    information = float(divergence(wanted, unigram.log())) if limited else None
    theory = {"untied": 0.0, "symmetric": None, "tied": information}
    return Case("Barack Obama said", ("Barack", "Obama", "said"), wanted, theory)


def check_smoothing(smoothing: float) -> None:
    if not 0 < smoothing < 2 / 3:
        raise InputError(f"smoothing must lie between 0 and 2/3, got {smoothing}")
