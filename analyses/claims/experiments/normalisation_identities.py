"""What BatchNorm and LayerNorm compute: identities, each with the wrong way beside it."""

import torch
from torch import Tensor, nn

from analyses.claims.claim import Arm, Claim, Comparison, Row
from analyses.claims.experiments.identities import exact
from interp.hooks import intervene, record
from toy_models.layers import BatchNorm, LayerNorm

UNITS, BATCH = 8, 32
BATCH_NORM = "Ioffe & Szegedy 2015, Batch Normalization, arXiv:1502.03167"
LAYER_NORM = "Ba et al. 2016, Layer Normalization, arXiv:1607.06450"


def normals(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def distance(a: Tensor, b: Tensor) -> float:
    """Largest difference of two entries."""
    return float((a - b).detach().abs().max())


def bias_outside_the_gradient(seed: int, device: str, budget: float) -> Row:
    """A bias before centring, loss mean (x - mean(x) - y)² / 2 with x = u + b, trained by 200 steps of rate 0.4.

    The step that takes the mean for a constant moves b by -rate dl/dx̂; the gradient of the whole is 0. The target's
    mean is -1, so that the first would like to lower x.
    """
    u, y = normals(seed, BATCH), normals(seed + 1, BATCH)
    y = y - y.mean() - 1
    row: Row = {}
    for name, aware in (("blind", False), ("aware", True)):
        b = torch.zeros((), dtype=torch.float64, requires_grad=True)
        losses = []
        for _ in range(200):
            x = u + b
            centred = x - (x.mean() if aware else x.mean().detach())
            loss = (centred - y).square().mean() / 2
            losses.append(float(loss.detach()))
            (gradient,) = torch.autograd.grad(loss, b)
            with torch.no_grad():
                b -= 0.4 * gradient
        row |= {f"{name} bias": abs(float(b.detach())), f"{name} change of loss": abs(losses[-1] - losses[0])}
    return row


def undone(seed: int, device: str, budget: float) -> Row:
    """Error of BatchNorm as the identity with weight sqrt(var + eps) and bias mean, and as it starts, 1 and 0."""
    x = 3 * normals(seed, BATCH, UNITS) + 5
    norm = BatchNorm(UNITS, "batch unit").double()
    plain = distance(norm(x), x)
    with torch.no_grad():
        norm.weight.copy_((x.var(0, correction=0) + norm.eps).sqrt())
        norm.bias.copy_(x.mean(0))
    return {"error": distance(norm(x), x), "as it starts": plain}


def sigmoid_line(std: float) -> float:
    """1 - R² of the best line for sigmoid(x), x ~ N(0, std²): var σ - cov(x, σ)² / std², over var σ; quadrature."""
    x = torch.linspace(-10, 10, 20001, dtype=torch.float64)
    p = torch.exp(-x.square() / 2)
    p = p / p.sum()
    s = torch.sigmoid(std * x)
    var = float((p * s.square()).sum() - (p * s).sum() ** 2)
    return 1 - float((p * s * x).sum()) ** 2 / var


def linear_zone(seed: int, device: str, budget: float) -> Row:
    return {"of unit variance": sigmoid_line(1.0), "of variance 9": sigmoid_line(3.0)}


def constant_channel(seed: int, device: str, budget: float) -> Row:
    """Share of outputs and gradients that are not finite where one unit is the same for all inputs.

    In plain operations, as they are while somebody watches: the fused kernel refuses an epsilon of 0.
    """
    row: Row = {}
    for name, eps in (("with epsilon", 1e-5), ("without", 0.0)):
        x = normals(seed, BATCH, UNITS)
        x[:, 3] = 2.0
        x.requires_grad_()
        out = record(BatchNorm(UNITS, "batch unit", eps).double(), x, names="hook_normalized", grad=True).output
        (gradient,) = torch.autograd.grad(out.sin().sum(), x)
        row[name] = float((~torch.stack([out, gradient]).isfinite()).double().mean())
    return row


def one_example(seed: int, device: str, budget: float) -> Row:
    """What LayerNorm makes of one example: mean, variance, and change when the rest of the batch changes."""
    x = 2 * normals(seed, BATCH, UNITS) + 1
    others = torch.cat([x[:1], normals(seed + 1, BATCH - 1, UNITS)])
    layer, batch = LayerNorm(UNITS, "batch unit", 1e-12).double(), BatchNorm(UNITS, "batch unit", 1e-12).double()
    seen = {"layer": (layer(x), layer(others)), "batch": (batch(x), batch(others))}
    row: Row = {}
    for name, (a, b) in seen.items():
        row[f"{name} mean"] = float(a.detach().mean(1).abs().max())
        row[f"{name} variance"] = float((a.detach().var(1, correction=0) - 1).abs().max())
        row[f"{name} change"] = distance(a[0], b[0])
    batch.eval()
    return row | {"batch change in evaluation": distance(batch(x)[0], batch(others)[0])}


def held_scale(seed: int, device: str, budget: float) -> Row:
    """f(a + b) - f(a) - f(b) + f(0) of LayerNorm, and of LayerNorm with its variance held at that of one input.

    Affine maps give 0. The weight is 1 and the bias not, so that without + f(0) the held one would not be 0 either.
    """
    a, b = normals(seed, BATCH, UNITS), normals(seed + 1, BATCH, UNITS)
    norm = LayerNorm(UNITS, "batch unit").double()
    with torch.no_grad():
        norm.bias.copy_(normals(seed + 2, UNITS))
    var = record(norm, a, names="hook_var")["hook_var"]
    with intervene(norm, {"hook_var": var}):
        held = superposition_error(norm, a, b)
    return {"held": held, "free": superposition_error(norm, a, b)}


@torch.no_grad()
def superposition_error(f: nn.Module, a: Tensor, b: Tensor) -> float:
    return float((f(a + b) - f(a) - f(b) + f(torch.zeros_like(a))).abs().max())


def identity(name: str, number: int, train: object, comparisons: tuple[Comparison, ...], **said: str) -> Claim:
    assert callable(train)
    return Claim(name, (number,), arms={"exact": Arm(train)}, comparisons=comparisons, trained=False, **said)  # type: ignore[arg-type]


CLAIMS = (
    identity(
        "normalising-outside-the-gradient-cancels-the-step", 28, bias_outside_the_gradient,
        (
            exact("the loss staying as it is", "change of the loss", "exact", "blind change of loss", 1e-9,
                  wrong="blind bias"),
            exact("the bias staying where it is if the gradient knows", "|b|", "exact", "aware bias", 1e-9,
                  wrong="blind bias"),
        ),
        statement="If the gradient does not know of the normalisation, a bias grows without end and the loss stays.",
        source=f"{BATCH_NORM}, section 2",
        why="The same 200 steps with the gradient through the mean leave the bias at 0; without, it moves at every "
        "step by the same amount, which the mean takes out again.",
    ),
    identity(
        "gamma-and-beta-can-undo-batch-norm", 30, undone,
        (exact("weight sqrt(var + eps), bias mean", "largest difference from the input", "exact", "error", 1e-9,
               wrong="as it starts"),),
        statement="With gamma = sqrt(var + eps) and beta = mean, BatchNorm is the identity on that batch.",
        source=f"{BATCH_NORM}, section 3",
        why="As it starts, with gamma 1 and beta 0, it is not.",
    ),
    identity(
        "normalised-sigmoids-are-nearly-linear", 30, linear_zone,
        (exact("unit variance", "1 - R² of a line", "exact", "of unit variance", 0.02, wrong="of variance 9"),),
        statement="Normalised inputs keep a sigmoid to its linear part, unless gamma and beta undo it.",
        source=f"{BATCH_NORM}, section 3",
        why="Inputs of three times the standard deviation, for which a line misses more than 2 % of the variance.",
    ),
    identity(
        "epsilon-keeps-constant-channels-finite", 31, constant_channel,
        (exact("a constant unit", "share not finite", "exact", "with epsilon", 0.0, wrong="without"),),
        statement="Epsilon keeps outputs and gradients of a channel without variance finite.",
        source=f"{BATCH_NORM}, algorithm 1",
        why="The same batch with epsilon 0.",
    ),
    identity(
        "layer-norm-looks-at-one-example", 32, one_example,
        (
            exact("mean 0 of every vector", "largest |mean|", "exact", "layer mean", 1e-9, wrong="batch mean"),
            exact("variance 1 of every vector", "largest |variance - 1|", "exact", "layer variance", 1e-9,
                  wrong="batch variance"),
            exact("the rest of the batch", "change of an output", "exact", "layer change", 1e-9, wrong="batch change"),
            exact("BatchNorm in evaluation", "change of an output", "exact", "batch change in evaluation", 1e-9,
                  wrong="batch change"),
        ),
        statement="LayerNorm gives every vector mean 0 and variance 1, whatever else is in the batch.",
        source=LAYER_NORM,
        why="BatchNorm in training mode does neither for a single vector: its output depends on the other examples.",
    ),
    identity(
        "layer-norm-is-affine-but-for-its-scale", 32, held_scale,
        (exact("the variance held", "|f(a + b) - f(a) - f(b) + f(0)|", "exact", "held", 1e-9, wrong="free"),),
        statement="LayerNorm is not linear; all that is not affine in it is its scale.",
        source=f"{LAYER_NORM}; Elhage et al. 2021 hold the scale",
        why="The same sum with the variance free.",
    ),
)  # fmt: skip
