"""Whitening: how much faster inputs without correlation train, what standardising leaves, and what the rest costs."""

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor

from analyses.claims.claim import Arm, Claim, Comparison, Picture, Row
from analyses.claims.experiments.vector_training import scaled, split_digits
from toy_models.layers import BatchNorm

INK = 0.1
"""Share of the digits that a pixel must have ink in."""
TOLERANCE = 0.01
MOST_STEPS = 20_000
BATCH, WIDTHS = 512, (16, 64, 256)
BATCH_NORM = "Ioffe & Szegedy 2015, Batch Normalization, arXiv:1502.03167"
EFFICIENT = "LeCun et al. 1998, Efficient BackProp, section 4.3"


def zca(x: Tensor) -> Tensor:
    """Whitened [n d]: (x - mean) C^(-1/2), C the covariance (n), the whitened values nearest to the centred ones.

    Kessy et al. 2018 (arXiv:1512.00809). Differentiable through C where no two eigenvalues are equal.
    """
    centred = x - x.mean(0)
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(x))
    return centred @ (vectors / values.sqrt()) @ vectors.T


def standardised(x: Tensor) -> Tensor:
    """Mean 0 and variance 1, dimension by dimension."""
    return (x - x.mean(0)) / x.std(0, correction=0)


def inked(seed: int) -> tuple[Tensor, Tensor]:
    """Pixels [n pixel] that have ink in a tenth of the digits or more, and the labels [n], of 900 digits.

    Pixels that are always 0 would make the condition number infinite.
    """
    data, _ = split_digits(seed, 900, "cpu")
    x = data.images.flatten(1).double()
    return x[:, (x > 0).double().mean(0) >= INK], data.labels


FORMS = {
    "raw": lambda x: x,
    "centred": lambda x: x - x.mean(0),
    "standardised": standardised,
    "whitened": zca,
}


def descent(seed: int, device: str, budget: float, form: str) -> Row:
    """Linear regression of the digits' labels (one-hot), by gradient descent at its best rate, 2 / (l_1 + l_n).

    l_1 and l_n are the extreme eigenvalues of x'x / n, their ratio the condition number. x has a column of ones for the
    intercept, so that all forms of the pixels have the same minimum and differ in the way there alone. "steps" are
    those until what is left of the loss above its minimum is 1 % of what it was; at most 20,000.
    """
    pixels, labels = inked(seed)
    x = torch.cat([FORMS[form](pixels), torch.ones(len(pixels), 1).double()], dim=1).to(device)
    y = torch.nn.functional.one_hot(labels, 10).double().to(device)
    hessian, slope = x.T @ x / len(x), x.T @ y / len(x)
    values = torch.linalg.eigvalsh(hessian)
    best = torch.linalg.solve(hessian, slope)
    w, steps = torch.zeros_like(best), scaled(MOST_STEPS, budget)
    rate = 2 / (values[0] + values[-1])
    excess: list[float] = []
    for _ in range(steps):
        off = w - best
        excess.append(float((off * (hessian @ off)).sum()))
        if excess[-1] <= TOLERANCE * excess[0]:
            break
        w = w - rate * (hessian @ w - slope)
    shown = sorted({round(1.2**i) for i in range(60)} & set(range(1, len(excess))))
    return {
        "condition": float(values[-1] / values[0]),
        "steps": float(max(1, len(excess) - 1)),
        "step": [float(i) for i in shown],
        "excess loss": [excess[i] / excess[0] for i in shown],
    }


def slowest_rate(seed: int, device: str, budget: float) -> Row:
    """Contraction of the error per step of gradient descent from the two extreme directions, against the theory.

    At rate 2 / (l_1 + l_n) both shrink by (k - 1) / (k + 1), k = l_1 / l_n; at 1 / l_1 the slow one by 1 - 1/k.
    """
    x = standardised(inked(seed)[0])
    hessian = x.T @ x / len(x)
    values, vectors = torch.linalg.eigh(hessian)
    k = float(values[-1] / values[0])
    error = vectors[:, 0] + vectors[:, -1]
    sizes = []
    for _ in range(50):
        error = error - 2 / (values[0] + values[-1]) * (hessian @ error)
        sizes.append(float(error.norm()))
    measured = (sizes[-1] / sizes[0]) ** (1 / 49)
    return {"error": abs(measured - (k - 1) / (k + 1)), "with another rate's": abs(measured - (1 - 1 / k))}


def correlations(x: Tensor) -> Tensor:
    """Off-diagonal correlations of the dimensions."""
    found = torch.corrcoef(x.T)
    return found[~torch.eye(len(found), dtype=torch.bool)]


def what_is_left(seed: int, device: str, budget: float) -> Row:
    """Correlations of the digits' pixels before and after standardising and whitening."""
    x, _ = inked(seed)
    before = correlations(x)
    after, white = correlations(standardised(x)), correlations(zca(x))
    return {
        "largest, whitened": float(white.abs().max()),
        "largest, standardised": float(after.abs().max()),
        "change by standardising": float((after - before).abs().max()),
        "change by whitening": float((white - before).abs().max()),
    }


def cost(seed: int, device: str, budget: float) -> Row:
    """Processor seconds of one pass forwards and back through whitening and through BatchNorm, by width.

    Batches of 512; the fastest of several passes, so that what else the machine does counts little. On a CPU.
    """
    generator = torch.Generator().manual_seed(seed)
    repeats = scaled(9, budget)
    row: Row = {"width": [float(d) for d in WIDTHS]}
    ratios = []
    for d in WIDTHS:
        x = torch.randn(BATCH, d, generator=generator).requires_grad_()
        up = torch.randn(BATCH, d, generator=generator)
        norm = BatchNorm(d, "batch unit")
        whole, each = (min(seconds(f, x, up) for _ in range(repeats)) for f in (zca, norm))
        ratios.append(whole / each)
        row |= {f"whitening, {d}": whole, f"BatchNorm, {d}": each, f"ratio, {d}": whole / each}
    return row | {"ratio": ratios}


def seconds(f: Callable[[Tensor], Tensor], x: Tensor, up: Tensor) -> float:
    """Processor time of f(x) and the gradient by x, given the gradient `up` by f(x)."""
    began = time.process_time()
    torch.autograd.grad(f(x), x, up)
    return time.process_time() - began


def faster(condition: str, treated: str, control: str) -> Comparison:
    """Steps of the control form over those of the treated one."""
    return Comparison(
        condition, "steps to 1 % of the loss", "steps", control, treated, "greater", math.log(2), scale="log ratio"
    )


def costlier(condition: str, value: str, control: str) -> Comparison:
    return Comparison(
        condition, "processor seconds", value, "both", "both", "greater", math.log(2), control_value=control,
        scale="log ratio",
    )  # fmt: skip


CLAIMS = (
    Claim(
        name="whitened-inputs-train-faster",
        numbers=(26,),
        statement="Training is faster when inputs have mean 0, variance 1 and no correlation.",
        source=EFFICIENT,
        arms={form: Arm(descent, {"form": form}) for form in FORMS},
        comparisons=(
            faster("centring", "centred", "raw"),
            faster("standardising what is centred", "standardised", "centred"),
            faster("whitening what is standardised", "whitened", "standardised"),
        ),
        why="The same regression from the form before, each with its own best rate, so that only the condition number "
        "differs. The claim is about gradient descent, and about inputs alone.",
        picture=Picture("excess loss", "loss above its minimum (share)", "step", "steps", log_x=True, log_y=True),
    ),
    Claim(
        name="condition-number-sets-the-rate",
        numbers=(26,),
        statement="Gradient descent on a quadratic shrinks its error by (k - 1) / (k + 1) a step at best.",
        source=EFFICIENT,
        arms={"descent": Arm(slowest_rate)},
        comparisons=(
            Comparison(
                "the best rate", "|measured - (k - 1) / (k + 1)|", "error", "descent", "descent", "exact", 1e-9,
                control_value="with another rate's",
            ),
        ),
        why="1 - 1/k, the contraction at rate 1 / l_1, is another number.",
        trained=False,
    ),
    Claim(
        name="standardising-leaves-correlations",
        numbers=(29,),
        statement="Normalising each dimension by itself leaves the correlations that full whitening removes.",
        source=f"{BATCH_NORM}, section 3",
        arms={"digits": Arm(what_is_left)},
        comparisons=(
            Comparison(
                "whitening leaving none", "largest correlation", "largest, whitened", "digits", "digits", "exact", 1e-8,
                control_value="largest, standardised",
            ),
            Comparison(
                "standardising leaving them as they were", "largest change of a correlation", "change by standardising",
                "digits", "digits", "exact", 1e-8, control_value="change by whitening",
            ),
        ),
        why="Each of the two against the other, on the digits' pixels.",
        trained=False,
    ),
    Claim(
        name="whitening-costs-more-than-batch-norm",
        numbers=(104,),
        statement="Whitening, and the gradient through it, is expensive; BatchNorm is not.",
        source=f"{BATCH_NORM}, section 3",
        arms={"both": Arm(cost)},
        comparisons=(
            costlier("width 16", "whitening, 16", "BatchNorm, 16"),
            costlier("width 256", "whitening, 256", "BatchNorm, 256"),
            costlier("growing with the width", "ratio, 256", "ratio, 16"),
        ),
        why="BatchNorm's forward and backward pass on the same batch, in the same process: cubic in the width against "
        "linear. Seconds are of this machine, ratios less so.",
        picture=Picture("ratio", "seconds of whitening over BatchNorm's", "width", "units", log_x=True, log_y=True),
    ),
)  # fmt: skip
