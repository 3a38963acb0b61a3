"""Gradient descent follows the slope only in the limit of small steps."""

import torch

from analyses.claims.claim import Arm, Claim, Picture, Row
from analyses.claims.experiments.identities import exact
from analyses.claims.experiments.quadratics import descend, quadratic, spread
from analyses.claims.experiments.slopes import log_slope

TIME = 0.5
EIGENVALUES = spread(10.0, 8)
RATES = tuple(TIME / 2**k for k in range(5, 12))
MOMENTUM = 0.9


def distance_from_flow(seed: int, device: str, budget: float) -> Row:
    """|x after TIME / rate steps - exp(-H TIME) x| by rate, with and without momentum; and how too large steps grow."""
    H, start = quadratic(EIGENVALUES, torch.Generator().manual_seed(seed))
    flow = torch.linalg.matrix_exp(-H * TIME) @ start
    row: Row = {"rate": list(RATES)}
    for name, momentum in (("plain", 0.0), ("momentum", MOMENTUM)):
        missed = []
        for rate in RATES:
            x, v = start, torch.zeros_like(start)
            for _ in range(round(TIME / rate)):
                v = momentum * v + H @ x
                x = x - rate * v
            missed.append(float((x - flow).norm()))
        row[f"distance, {name}"] = missed
        row[f"slope off, {name}"] = abs(log_slope(torch.tensor(RATES), torch.tensor(missed)) - 1)
    largest = max(EIGENVALUES)
    rate = 2.2 / largest
    sizes = descend(H, start, rate, 400)
    grows = sizes[-1] / sizes[-2]
    row["growth off"] = abs(grows - abs(1 - rate * largest))
    row["growth off, flow"] = abs(grows - float(torch.exp(torch.tensor(-rate * min(EIGENVALUES)))))
    return row


CLAIMS = (
    Claim(
        name="descent-needs-small-steps",
        numbers=(68,),
        statement="The gradient gives the direction of steepest descent for infinitesimal steps only.",
        source="Nesterov, Introductory Lectures on Convex Optimization, section 1.2 (step size below 2 / curvature)",
        arms={"quadratic": Arm(distance_from_flow)},
        comparisons=(
            exact(
                "distance from the gradient flow ~ step size",
                "|slope of log distance by log step size - 1|",
                "quadratic",
                "slope off, plain",
                0.05,
                wrong="slope off, momentum",
            ),
            exact(
                "steps above 2 / curvature climb",
                "|growth of |x| in a step - (step size x curvature - 1)|",
                "quadratic",
                "growth off",
                1e-6,
                wrong="growth off, flow",
            ),
        ),
        why="With momentum .9 descent follows a flow ten times as fast, so that smaller steps bring it no nearer to "
        "this one; the flow itself never climbs.",
        picture=Picture(
            "distance, plain", "distance from the gradient flow", "rate", "step size", log_x=True, log_y=True
        ),
        trained=False,
    ),
)
