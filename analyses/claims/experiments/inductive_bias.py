"""An inductive bias helps where it is justified, and hurts where it is not: ridge regression on two targets."""

import math

import torch
from torch import Tensor

from analyses.claims.claim import Arm, Claim, Comparison, Row
from toy_models.training.seeds import generator_for

D, EXAMPLES, TRIALS = 20, 30, 50
NOISE = 1.0
SMALL = 0.2
"""Standard deviation of a weight that ridge expects: its strength is noise² / this²."""
LARGE = 3.0
"""That of a target which it does not expect."""
MATTERS = math.log(1.25)
"""A quarter more error."""


def regressed(seed: int, device: str, budget: float, *, ridge: bool, scale: float) -> Row:
    """Mean squared error on the target itself, over trials of 30 noisy examples in 20 dimensions."""
    generator = generator_for(seed, "regression")
    strength = NOISE**2 / SMALL**2 if ridge else 0.0
    errors = [one_trial(generator, strength, scale) for _ in range(max(1, round(TRIALS * budget)))]
    return {"error": sum(errors) / len(errors)}


def one_trial(generator: torch.Generator, strength: float, scale: float) -> float:
    """|w - w'|², the excess error for inputs of unit variance, of the fit to one sample."""
    true = scale * torch.randn(D, generator=generator, dtype=torch.float64)
    x = torch.randn(EXAMPLES, D, generator=generator, dtype=torch.float64)
    y = x @ true + NOISE * torch.randn(EXAMPLES, generator=generator, dtype=torch.float64)
    return float((fitted(x, y, strength) - true).square().sum())


def fitted(x: Tensor, y: Tensor, strength: float) -> Tensor:
    """argmin |y - x w|² + strength |w|²."""
    return torch.linalg.solve(x.T @ x + strength * torch.eye(x.shape[1], dtype=x.dtype), x.T @ y)


def arm(ridge: bool, scale: float) -> Arm:
    return Arm(regressed, {"ridge": ridge, "scale": scale})


def worse(condition: str, treated: str, control: str) -> Comparison:
    return Comparison(
        condition, "squared error of the weights", "error", treated, control, "greater", MATTERS, scale="log ratio"
    )


CLAIMS = (
    Claim(
        name="inductive-bias-helps-where-justified",
        numbers=(73,),
        statement="An inductive bias, such as towards small weights, helps where it is justified.",
        source="Wolpert & Macready 1997 (no free lunch); Hastie et al., Elements of Statistical Learning, section 3.4",
        arms={
            "none, small weights": arm(False, SMALL),
            "ridge, small weights": arm(True, SMALL),
            "none, large weights": arm(False, LARGE),
            "ridge, large weights": arm(True, LARGE),
        },
        comparisons=(
            worse("helps where weights are small: none over ridge", "none, small weights", "ridge, small weights"),
            worse("hurts where weights are large: ridge over none", "ridge, large weights", "none, large weights"),
        ),
        why="The same noise and inputs with and without the bias, on a target that is as the bias expects and on one "
        "that is not.",
    ),
)
