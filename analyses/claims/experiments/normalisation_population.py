"""BatchNorm past the basic layer: statistics of batch and population, filters, and the scale of weights."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from analyses.claims.claim import Arm, Claim, Comparison, Picture, Row
from analyses.claims.experiments.identities import exact
from analyses.claims.experiments.vector_training import fit, scaled, split_digits
from interp.hooks import record
from toy_models.layer_kinds import NormKind
from toy_models.layers import make_norm
from toy_models.layers.batch_norm import BatchNorm
from toy_models.layers.population import with_population_statistics
from toy_models.mlp import MLP
from toy_models.training.seeds import generator_for
from toy_models.vector_config import MLPConfig

SIZES = (2, 4, 8, 16, 32, 64, 128)
BATCH_NORM = "Ioffe & Szegedy 2015, Batch Normalization, arXiv:1502.03167"


def train_and_eval(seed: int, device: str, budget: float, norm: NormKind) -> Row:
    """How far the predictions of a trained net in training mode are from those in evaluation mode, by batch size.

    "gap, b" is the mean total variation distance over test images, in batches of b; "running against population" the
    same between the running averages and the statistics of all training images, both in evaluation mode.
    """
    training, test = split_digits(seed, 1437, device)
    model = MLP(MLPConfig(norm=norm), generator_for(seed, "weights")).to(device)
    fit(model, training, steps=scaled(300, budget), lr=0.1, seed=seed)
    images = test.images[torch.randperm(len(test), generator=generator_for(seed, "batches of the test"))][:256]
    with torch.no_grad():
        alone = model(images).softmax(-1)
        settled = with_population_statistics(model, training.images)(images).softmax(-1)
    model.train()
    gaps = []
    for b in SIZES:
        parts = [record(model, part, names="hook_logits").output.softmax(-1) for part in images.split(b)]
        gaps.append(variation(torch.cat(parts), alone))
    row: Row = {f"gap, {b}": gap for b, gap in zip(SIZES, gaps, strict=True)}
    return row | {
        "running against population": variation(settled, alone),
        "batch": [float(b) for b in SIZES],
        "gap": gaps,
    }


def variation(p: Tensor, q: Tensor) -> float:
    """Mean over rows of half the sum of absolute differences."""
    return float((p - q).abs().sum(-1).mean() / 2)


def scales(seed: int, device: str, budget: float) -> Row:
    """Linear map and normalisation (epsilon 0, in plain operations), with weights W and with every row scaled by a.

    "output" is |f(aW) - f(W)|, "gradient" |a grad(aW) - grad(W)|, for each normalisation; a differs from unit to unit
    and lies between 1/2 and 8.
    """
    generator = torch.Generator().manual_seed(seed)
    x, up = (torch.randn(32, 8, generator=generator, dtype=torch.float64) for _ in range(2))
    weight = torch.randn(8, 8, generator=generator, dtype=torch.float64)
    a = 2 ** torch.linspace(-1, 3, 8, dtype=torch.float64)[:, None]
    kinds: tuple[NormKind, ...] = ("none", "layer", "batch")
    row: Row = {}
    for kind in kinds:
        first, grad = output_and_gradient(kind, weight, x, up)
        second, grad_scaled = output_and_gradient(kind, a * weight, x, up)
        row[f"{kind} output"] = float((second - first).abs().max())
        row[f"{kind} gradient"] = float((a * grad_scaled - grad).abs().max())
    return row


def output_and_gradient(kind: NormKind, weight: Tensor, x: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    """norm(x W'), and the gradient of its product with `up` by W."""
    weight = weight.clone().requires_grad_()
    h = F.linear(x, weight)
    if kind != "none":
        norm = make_norm(kind, 8, "batch unit", 0.0).double()
        h = record(norm, h, names="hook_normalized", grad=True).output
    (gradient,) = torch.autograd.grad((h * up).sum(), weight)
    return h.detach(), gradient


def filters(seed: int, device: str, budget: float) -> Row:
    """BatchNorm of images: against BatchNorm of all places as if they were examples, and under a shift of the image.

    The wrong way normalises every pixel of a filter by itself: other numbers, and a shift in no longer shifts out
    where the pixels' statistics differ, here by a gradient across the image.
    """
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(16, 3, 5, 5, generator=generator, dtype=torch.float64) + torch.arange(5.0, dtype=torch.float64)
    norm, flat, by_pixel = BatchNorm(3, "batch unit y x"), BatchNorm(3, "batch unit"), BatchNorm(75, "batch unit")
    norm, flat, by_pixel = (each.double() for each in (norm, flat, by_pixel))

    def pixel_by_pixel(images: Tensor) -> Tensor:
        return by_pixel(images.flatten(1)).view_as(images)

    with torch.no_grad():
        out, wrong = norm(x), pixel_by_pixel(x)
        places = flat(x.movedim(1, -1).reshape(-1, 3)).view(16, 5, 5, 3).movedim(-1, 1)
        norm.eval(), by_pixel.eval()
        shifted, shifted_wrong = norm(x.roll(1, -1)), pixel_by_pixel(x.roll(1, -1))
        still, still_wrong = norm(x).roll(1, -1), pixel_by_pixel(x).roll(1, -1)
    return {
        "places as examples": float((out - places).abs().max()),
        "pixel by pixel": float((wrong - places).abs().max()),
        "shift": float((shifted - still).abs().max()),
        "shift, pixel by pixel": float((shifted_wrong - still_wrong).abs().max()),
    }


CLAIMS = (
    Claim(
        name="batch-statistics-differ-from-the-populations",
        numbers=(92,),
        statement="A net with BatchNorm says other things in training than in evaluation, in small batches above all.",
        source=f"{BATCH_NORM}, section 3.1; Ioffe 2017, arXiv:1702.03275",
        arms={norm: Arm(train_and_eval, {"norm": norm}) for norm in ("batch", "layer")},
        comparisons=(
            Comparison(
                "batches of 2", "distance of predictions", "gap, 2", "batch", "layer", "greater", 0.05,
            ),
            Comparison(
                "batches of 128", "distance of predictions", "gap, 128", "batch", "layer", "greater", 0.05,
            ),
            Comparison(
                "2 against 128", "distance of predictions", "gap, 2", "batch", "batch", "greater", math.log(4),
                control_value="gap, 128", scale="log ratio",
            ),
        ),
        why="LayerNorm, which knows no batch, says the same in both; 5 % of the probability is what would matter.",
        picture=Picture("gap", "distance of predictions", "batch", "examples in a batch", log_x=True),
    ),
    Claim(
        name="batch-norm-ignores-the-scale-of-weights",
        numbers=(92,),
        statement="BN(aWu) = BN(Wu), and the gradient by aW is 1/a of that by W.",
        source=f"{BATCH_NORM}, section 3.3",
        arms={"exact": Arm(scales)},
        comparisons=(
            exact("the output, a scale for each unit", "largest difference", "exact", "batch output", 1e-9,
                  wrong="layer output"),
            exact("the gradient, a scale for each unit", "largest difference", "exact", "batch gradient", 1e-9,
                  wrong="layer gradient"),
        ),
        why="LayerNorm ignores one scale of all weights, not a scale for each unit.",
        trained=False,
    ),
    Claim(
        name="batch-norm-treats-places-as-examples",
        numbers=(92,),
        statement="In a convolutional net BatchNorm normalises a filter over all places, as convolution requires.",
        source=f"{BATCH_NORM}, section 3.2",
        arms={"exact": Arm(filters)},
        comparisons=(
            exact("all places as examples", "largest difference", "exact", "places as examples", 1e-9,
                  wrong="pixel by pixel"),
            exact("a shifted image, in evaluation mode", "largest difference", "exact", "shift", 1e-9,
                  wrong="shift, pixel by pixel"),
        ),
        why="Normalising every pixel of a filter by itself gives other numbers, and breaks the response to shifts.",
        trained=False,
    ),
)  # fmt: skip
