"""Stochastic gradient descent: a minibatch's gradient is that of all data, plus noise that falls with its size."""

import torch
import torch.nn.functional as F
from torch import Tensor

from analyses.claims.claim import Arm, Claim, Picture, Row
from analyses.claims.experiments.identities import exact
from analyses.claims.experiments.slopes import log_slope
from interp.units import flat_gradient, gradient_noise, minibatch_gradients
from toy_models.layer_kinds import NormKind
from toy_models.mlp import MLP
from toy_models.training.seeds import generator_for
from toy_models.vector_config import MLPConfig
from toy_models.vision.data import digits

N_IMAGES, DRAWS = 1000, 600
BATCHES = (1, 4, 16, 64)
BIASED_AT = 4
Z = 4.0
"""Standard deviations that |mean - full|² may be off: more happens by chance 6 times in 100,000."""


def noise_by_batch(seed: int, device: str, budget: float) -> Row:
    """Total variance by batch size, drawn with replacement; beside it batches that are copies of a single image."""
    net, images, labels = a_net(seed, "none")
    full = flat_gradient(net, images, labels, F.cross_entropy)
    generator, draws = generator_for(seed, "minibatches"), max(50, round(DRAWS * budget))
    row: Row = {"batch": [float(b) for b in BATCHES]}
    for kind in ("independent", "copies"):
        variances = []
        for batch in BATCHES:
            drawn = torch.randint(N_IMAGES, (draws, batch if kind == "independent" else 1), generator=generator)
            indices = drawn.expand(draws, batch)
            noise = gradient_noise(minibatch_gradients(net, images, labels, F.cross_entropy, indices), full)
            variances.append(noise.total_variance)
        row[f"variance, {kind}"] = variances
        row[f"slope off, {kind}"] = abs(log_slope(torch.tensor(BATCHES), torch.tensor(variances)) + 1)
    return row


def bias(seed: int, device: str, budget: float) -> Row:
    """How far the mean of minibatch gradients is from the full one, beside BatchNorm's and that of sorted batches."""
    generator, draws = generator_for(seed, "minibatches"), max(50, round(DRAWS * budget))
    row: Row = {}
    for norm in ("none", "batch"):
        net, images, labels = a_net(seed, norm)
        full = flat_gradient(net, images, labels, F.cross_entropy)
        drawn = torch.randint(N_IMAGES, (draws, BIASED_AT), generator=generator)
        noise = gradient_noise(minibatch_gradients(net, images, labels, F.cross_entropy, drawn), full)
        row[f"bias, {norm}"] = abs(noise.bias_z)
        row[f"cosine, {norm}"] = noise.cosine.mean
        if norm == "none":
            first = labels.argsort()[: N_IMAGES // 2]
            half = first[torch.randint(len(first), (draws, BIASED_AT), generator=generator)]
            noise = gradient_noise(minibatch_gradients(net, images, labels, F.cross_entropy, half), full)
            row["bias, sorted"] = abs(noise.bias_z)
    return row


def a_net(seed: int, norm: NormKind) -> tuple[MLP, Tensor, Tensor]:
    """A net at initialisation, in training mode, with some digits and their labels."""
    data = digits()
    data = data.take(torch.randperm(len(data), generator=generator_for(seed, "images"))[:N_IMAGES])
    net = MLP(MLPConfig(widths=(16,), norm=norm), generator_for(seed, "weights")).double()
    return net.train(), data.images.double(), data.labels


OFF = "| |mean - full|² - expected | in standard deviations"

CLAIMS = (
    Claim(
        name="minibatch-gradient-is-unbiased",
        numbers=(3,),
        statement="Stochastic gradient descent steps along a gradient that is right on average, with noise of variance "
        "1 / batch size.",
        source="Robbins & Monro 1951; Bottou, Curtis & Nocedal 2018, section 4 (arXiv:1606.04838)",
        arms={"bias": Arm(bias), "noise": Arm(noise_by_batch)},
        comparisons=(
            exact("unbiased, drawn from all images", OFF, "bias", "bias, none", Z, wrong="bias, sorted"),
            exact("unbiased, without BatchNorm", OFF, "bias", "bias, none", Z, wrong="bias, batch"),
            exact(
                "variance 1 / batch",
                "|slope of log variance by log batch + 1|",
                "noise",
                "slope off, independent",
                0.1,
                wrong="slope off, copies",
            ),
        ),
        why="Batches from a file sorted by label are off; so are those of a net with BatchNorm, whose loss depends on "
        "what else is in the batch; copies of one image are no larger a sample. Batches are drawn with replacement: "
        "those of a partition average to the full gradient whatever they are.",
        picture=Picture(
            "variance, independent",
            "variances of all entries, added",
            "batch",
            "images in a batch",
            log_x=True,
            log_y=True,
            arms=("noise",),
        ),
        trained=False,
    ),
)
