"""Quadratic losses with known eigenvalues, and plain descent on them: the update is what the claims are about."""

from collections.abc import Sequence

import torch
from torch import Tensor


def quadratic(eigenvalues: Sequence[float], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(H, x): a random symmetric matrix with these eigenvalues, and a start of length 1 equally far along each.

    The loss is x H x / 2, its gradient H x, its lowest point 0.
    """
    n = len(eigenvalues)
    axes = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64)).Q
    values = torch.tensor(list(eigenvalues), dtype=torch.float64)
    return (axes * values) @ axes.T, axes.sum(1) / n**0.5


def spread(condition: float, n: int) -> list[float]:
    """n eigenvalues from 1 to the condition number, in equal ratios."""
    return torch.logspace(0, 1, n, base=condition, dtype=torch.float64).tolist()


def descend(H: Tensor, x: Tensor, rate: float, steps: int, momentum: float = 0.0) -> list[float]:
    """|x| before and after each step of v <- momentum v + H x, x <- x - rate v (Polyak 1964), from v = 0."""
    v = torch.zeros_like(x)
    sizes = [float(x.norm())]
    for _ in range(steps):
        v = momentum * v + H @ x
        x = x - rate * v
        sizes.append(float(x.norm()))
    return sizes


def steps_until(sizes: Sequence[float], tolerance: float) -> int:
    """The first step at which |x| is at most the tolerance; as many as there are if it never is."""
    return next((step for step, size in enumerate(sizes) if size <= tolerance), len(sizes))
