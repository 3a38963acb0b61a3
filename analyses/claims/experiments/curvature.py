"""What plain descent ignores: curvature, what taking it into account saves, and what that costs."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from analyses.claims.claim import Arm, Claim, Comparison, Picture, Row
from analyses.claims.experiments.identities import exact
from analyses.claims.experiments.quadratics import descend, quadratic, spread, steps_until
from analyses.claims.experiments.slopes import log_slope
from toy_models.training.seeds import generator_for
from toy_models.vision.data import digits

CONDITIONS = (10.0, 30.0, 100.0, 300.0)
N_IMAGES, RIDGE = 600, 0.01
TOLERANCE = 1e-6
MOST = 4000
FASTER = 10.0
"""How many times fewer steps would matter: each of Newton's solves N equations."""


def newton_on_quadratics(seed: int, device: str, budget: float) -> Row:
    """|x| after one step, and steps to 1e-6 by condition number, of Newton's method and of plain descent."""
    generator = torch.Generator().manual_seed(seed)
    row: Row = {"condition": list(CONDITIONS)}
    sizes: dict[str, list[list[float]]] = {"plain": [], "newton": []}
    for condition in CONDITIONS:
        H, start = quadratic(spread(condition, 12), generator)
        sizes["plain"].append(descend(H, start, 2 / (1 + condition), round(10 * condition)))
        sizes["newton"].append(descend(torch.linalg.solve(H, H), start, 1.0, 10))
    for name, found in sizes.items():
        steps = [float(steps_until(each, TOLERANCE)) for each in found]
        row[f"steps, {name}"] = steps
        row[f"slope off, {name}"] = abs(log_slope(torch.tensor(CONDITIONS), torch.tensor(steps)) - 1)
    row["after a Newton step"] = max(each[1] for each in sizes["newton"])
    row["after a plain step"] = min(each[1] for each in sizes["plain"])
    return row


def logistic_regression(seed: int, device: str, budget: float, *, newton: bool) -> Row:
    """Steps until the loss on some digits is within 1e-6 of its lowest: Newton, or descent at 1 / largest curvature."""
    images, labels = some_digits(seed)
    lowest = minimise(images, labels, True, 30, -math.inf)[-1]
    gaps = minimise(images, labels, newton, max(1, round(MOST * budget)), lowest)
    n = images.shape[1] * 10
    return {
        "steps": float(len(gaps) - 1),
        "gap": [max(gap - lowest, 1e-12) for gap in gaps[:: max(1, len(gaps) // 40)]],
        "step": [float(step) for step in range(0, len(gaps), max(1, len(gaps) // 40))],
        "numbers off": float(abs(hessian(images, torch.zeros(images.shape[1], 10).double()).numel() - n**2)),
        "numbers off, Adam": float(abs(3 * n - n**2)),
    }


def some_digits(seed: int) -> tuple[Tensor, Tensor]:
    """Pixels with a 1 in front, in float64, and labels."""
    data = digits()
    data = data.take(torch.randperm(len(data), generator=generator_for(seed, "images"))[:N_IMAGES])
    return F.pad(data.images.flatten(1).double(), (1, 0), value=1.0), data.labels


def minimise(images: Tensor, labels: Tensor, newton: bool, steps: int, lowest: float) -> list[float]:
    """The loss, cross-entropy + ridge |W|² / 2, before and after each step from W = 0, down to `lowest` + 1e-6."""
    hard, n = F.one_hot(labels, 10).double(), len(images)
    steepest = float(torch.linalg.eigvalsh(images.T @ images / n)[-1]) / 2 + RIDGE
    W, losses = torch.zeros(images.shape[1], 10, dtype=torch.float64), []
    for step in range(steps + 1):
        logits = images @ W
        losses.append(float(F.cross_entropy(logits, labels) + RIDGE * W.square().sum() / 2))
        if losses[-1] <= lowest + TOLERANCE or step == steps:
            break
        gradient = images.T @ (logits.softmax(1) - hard) / n + RIDGE * W
        if newton:
            W = W - torch.linalg.solve(hessian(images, W), gradient.flatten()).view_as(W)
        else:
            W = W - gradient / steepest
    return losses


def hessian(images: Tensor, W: Tensor) -> Tensor:
    """d² loss / d W²: mean of x x' (diag p - p p') over images, in the order of W, plus the ridge."""
    p = (images @ W).softmax(1)
    between = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    blocks = torch.einsum("nij,nab->aibj", between, images[:, :, None] * images[:, None, :]) / len(images)
    return blocks.reshape(W.numel(), W.numel()) + RIDGE * torch.eye(W.numel(), dtype=W.dtype)


CLAIMS = (
    Claim(
        name="descent-ignores-curvature",
        numbers=(70,),
        statement="Plain descent ignores curvature; using it takes few steps, but N² numbers for N parameters.",
        source="Nocedal & Wright, Numerical Optimization, ch. 3",
        arms={
            "quadratics": Arm(newton_on_quadratics),
            "descent": Arm(logistic_regression, {"newton": False}),
            "Newton": Arm(logistic_regression, {"newton": True}),
        },
        comparisons=(
            exact(
                "one Newton step solves a quadratic",
                "|x| after a step",
                "quadratics",
                "after a Newton step",
                1e-9,
                wrong="after a plain step",
            ),
            exact(
                "plain descent takes steps ~ condition number",
                "|slope of log steps by log condition number - 1|",
                "quadratics",
                "slope off, plain",
                0.1,
                wrong="slope off, newton",
            ),
            Comparison(
                "logistic regression on digits",
                "steps to 1e-6, descent over Newton",
                "steps",
                "descent",
                "Newton",
                "greater",
                math.log(FASTER),
                scale="log ratio",
            ),
            exact("memory", "|numbers of the curvature - N²|", "Newton", "numbers off", 0.0, wrong="numbers off, Adam"),
        ),
        why="Both start at the same point and stop at the same loss; descent has the largest step size that the "
        "curvature allows. Adam, which keeps one number per parameter for scale, stores 3 N.",
        picture=Picture("gap", "loss above the lowest", "step", "step", log_y=True, arms=("descent", "Newton")),
    ),
)
