"""Momentum on ill-conditioned losses: its rate, what it saves, and what it does to a step."""

import math

import torch
from torch import nn

from analyses.claims.claim import Arm, Claim, Comparison, Picture, Row
from analyses.claims.experiments.identities import exact
from analyses.claims.experiments.quadratics import descend, quadratic, spread, steps_until
from toy_models.training.traces import trace_updates

CONDITION, N = 100.0, 20
TOLERANCE = 1e-8
DRAWN = 40
"""Points of a curve."""
FASTER = 3.0
"""How many times fewer steps would matter; theory says about root of the condition number over 2, 5."""


def rates(condition: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """(step size, momentum) that are best for eigenvalues from 1 to `condition`: without momentum, and with."""
    root = math.sqrt(condition)
    return (2 / (1 + condition), 0.0), ((2 / (root + 1)) ** 2, ((root - 1) / (root + 1)) ** 2)


def convergence(seed: int, device: str, budget: float) -> Row:
    """Measured rates on a quadratic of condition number 100 against theory: (k - 1) / (k + 1), and with roots.

    With the best momentum the slowest direction has a double root: |x| falls as n rate^n, which is what is divided out.
    """
    H, start = quadratic(spread(CONDITION, N), torch.Generator().manual_seed(seed))
    (rate, _), (rate_momentum, momentum) = rates(CONDITION)
    plain = descend(H, start, rate, 600)
    heavy = descend(H, start, rate_momentum, 120, momentum)
    expected = (CONDITION - 1) / (CONDITION + 1)
    root = math.sqrt(momentum)
    last, middle = heavy[120], heavy[60]
    measured = (last / middle) ** (1 / 60)
    return {
        "plain off": abs((plain[600] / plain[300]) ** (1 / 300) - expected),
        "plain off, by root": abs((plain[600] / plain[300]) ** (1 / 300) - root),
        "momentum off": abs(measured / 2 ** (1 / 60) - root),
        "momentum off, no n": abs(measured - root),
    }


def steps_needed(seed: int, device: str, budget: float, *, momentum: bool, condition: float = CONDITION) -> Row:
    """Steps to 1e-8 of the start, from a random start, with the best step size (and momentum) for the eigenvalues."""
    generator = torch.Generator().manual_seed(seed)
    H, _ = quadratic(spread(condition, N), generator)
    start = torch.randn(N, generator=generator, dtype=torch.float64)
    rate, memory = rates(condition)[momentum]
    sizes = descend(H, start / start.norm(), rate, max(10, round(4000 * budget)), memory)
    steps = steps_until(sizes, TOLERANCE)
    drawn = sorted({round(steps * part / DRAWN) for part in range(DRAWN + 1)} & set(range(len(sizes))))
    return {"steps": float(steps), "step": [float(n) for n in drawn], "size": [sizes[n] for n in drawn]}


def average_of_gradients(seed: int, device: str, budget: float) -> Row:
    """torch's SGD on random gradients: the velocity against a weighted sum of gradients, and the learning rate kept."""
    generator = torch.Generator().manual_seed(seed)
    model = nn.Linear(4, 1, bias=False).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    with trace_updates(model, optimizer) as trace:
        for _ in range(60):
            model.weight.grad = 1 + torch.randn(1, 4, generator=generator, dtype=torch.float64)
            optimizer.step()
    gradients, velocity = trace.stacked("gradient", "weight"), trace.stacked("momentum", "weight")
    weights = 0.9 ** torch.arange(59, -1, -1, dtype=torch.float64)
    summed = (weights[:, None, None] * gradients).sum(0)
    step = trace.stacked("effective", "weight")[-1]
    return {
        "velocity off": float((velocity[-1] - summed).abs().max()),
        "velocity off, last gradient": float((velocity[-1] - gradients[-1]).abs().max()),
        "step off": float((step + 0.1 * summed).abs().max()),
        "step off, adjusted rate": float((step + 0.1 / (1 - 0.9) * gradients[-1]).abs().max()),
        "rate moved": max(trace.learning_rate["weight"]) - min(trace.learning_rate["weight"]),
    }


CLAIMS = (
    Claim(
        name="momentum-rate",
        numbers=(74,),
        statement="On a quadratic of condition number k, momentum brings the rate from (k - 1) / (k + 1) to that of "
        "root k.",
        source="Polyak 1964; Goh 2017, Why Momentum Really Works",
        arms={"condition 100": Arm(convergence), "random gradients": Arm(average_of_gradients)},
        comparisons=(
            exact(
                "plain", "|rate - (k - 1) / (k + 1)|", "condition 100", "plain off", 1e-4, wrong="plain off, by root"
            ),
            exact(
                "momentum",
                "|rate, after n rate^n - (root k - 1) / (root k + 1)|",
                "condition 100",
                "momentum off",
                3e-3,
                wrong="momentum off, no n",
            ),
            exact(
                "a sum of gradients",
                "largest |velocity - sum of .9^age x gradient|",
                "random gradients",
                "velocity off",
                1e-9,
                wrong="velocity off, last gradient",
            ),
            exact(
                "at an unchanged learning rate",
                "largest |step + rate x that sum|",
                "random gradients",
                "step off",
                1e-9,
                wrong="step off, adjusted rate",
            ),
        ),
        why="Momentum's double root falls as n rate^n: without the n the rate comes out too slow. A learning rate "
        "adjusted to rate / (1 - momentum) would take other steps along the last gradient.",
        slip="Momentum adds up past gradients with falling weights (ten times their average at .9); it does not adjust "
        "the learning rate to what it meets.",
        trained=False,
    ),
    Claim(
        name="momentum-helps-ill-conditioned-losses",
        numbers=(74,),
        statement="Momentum gets through pathological curvature: narrow valleys that plain descent zigzags along.",
        source="Polyak 1964; Goh 2017, Why Momentum Really Works",
        arms={
            "plain, condition 100": Arm(steps_needed, {"momentum": False}),
            "momentum, condition 100": Arm(steps_needed, {"momentum": True}),
            "plain, condition 2": Arm(steps_needed, {"momentum": False, "condition": 2.0}),
            "momentum, condition 2": Arm(steps_needed, {"momentum": True, "condition": 2.0}),
        },
        comparisons=tuple(
            Comparison(
                f"condition number {k}",
                "steps to 1e-8, plain over momentum",
                "steps",
                f"plain, condition {k}",
                f"momentum, condition {k}",
                "greater",
                math.log(FASTER),
                scale="log ratio",
            )
            for k in (100, 2)
        ),
        why="Both take the best step size that theory gives for their eigenvalues, from the same start; where the "
        "valley is not narrow there is little to save.",
        picture=Picture("size", "distance from the lowest point", "step", "step", log_y=True),
        slip="A narrow valley is ill-conditioning, a matter of curvatures that differ, and no local extremum.",
    ),
)
