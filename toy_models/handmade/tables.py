"""The matches and moves that the handmade heads are made of."""

import torch
from jaxtyping import Float
from torch import Tensor

from toy_models.handmade.blocks import Match, Move, Size


def steps_back(n: int, by: int) -> Float[Tensor, "n n"]:
    """Row p is one at p - by, and at 0 where that would lie before the start."""
    table = torch.zeros(n, n, dtype=torch.float64)
    table[torch.arange(n), (torch.arange(n) - by).clamp(min=0)] = 1
    return table


def step_forward(n: int) -> Float[Tensor, "n n"]:
    """Row p is one at p + 1; the last row is zero."""
    return torch.eye(n, dtype=torch.float64).roll(1, dims=1).triu()


def look_back(size: Size, by: int = 1) -> Match:
    """Attend `by` positions back; the first positions attend to position 0."""
    return Match("pos", "pos", size.sharpness * steps_back(size.n_ctx, by))


def look_at_first(size: Size) -> Match:
    """Attend to position 0."""
    table = torch.zeros(size.n_ctx, size.n_ctx, dtype=torch.float64)
    table[:, 0] = size.sharpness
    return Match("pos", "pos", table)


def same(size: Size, query: str, key: str, strength: float | None = None) -> Match:
    """Score `strength` (the size's sharpness by default) where two token blocks hold the same token."""
    value = size.sharpness if strength is None else strength
    return Match(query, key, value * torch.eye(size.d_vocab, dtype=torch.float64))


def look_at_copy(size: Size, recency: float) -> tuple[Match, Match]:
    """Attend to earlier copies of the present token, to oneself where there is none.

    Scores at distance d: copies B - r d, oneself B - P, others -r d (up to what is the same for all keys), with
    P = r (T - 1) + sharpness / 2 and B = r (T - 2) + sharpness, so that each kind beats the next by half the
    sharpness at any distance. With recency r = 0 attention is shared evenly among the copies (B is then the
    sharpness), with r > 0 nearer copies win by e^r a step.
    """
    t = size.n_ctx
    penalty = recency * (t - 1) + size.sharpness / 2
    strength = size.sharpness + recency * max(t - 2, 0)
    by_position = recency * torch.arange(t, dtype=torch.float64).expand(t, t) - penalty * torch.eye(
        t, dtype=torch.float64
    )
    return same(size, "tok", "tok", strength), Match("pos", "pos", by_position)


def follow_pointer(size: Size) -> Match:
    """Attend to the position after the one that block `ptr` points to."""
    return Match("ptr", "pos", size.sharpness * step_forward(size.n_ctx))


def copy(size: Size, source: str, target: str, strength: float = 1.0) -> Move:
    """Carry a token block over as it is, times `strength`."""
    return Move(source, target, strength * torch.eye(size.d_vocab, dtype=torch.float64))


def point(size: Size) -> Move:
    """Write the position attended to into block `ptr`."""
    return Move("pos", "ptr", torch.eye(size.n_ctx, dtype=torch.float64))
