"""The same convolutional trunk trained with labels, and without any as a GAN's discriminator: what it learns."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from analyses.claims.claim import Arm, Claim, Comparison, Picture, Row
from analyses.claims.experiments.digit_classifiers import ONE_IMAGE, POINT, fit, halves
from interp import record
from interp.units import linear_probe
from toy_models.mlp import MLP
from toy_models.shelf_config import ShelfTrainConfig
from toy_models.training.seeds import generator_for
from toy_models.vector_config import MLPConfig
from toy_models.vision import ConvNet, ConvNetConfig

NOISE, BATCH, STEPS = 16, 64, 1000
RATE, BETAS = 2e-3, (0.5, 0.999)
LABELLED = 0.1
"""Share of the held-out digits whose labels the probe is fitted to: features matter where labels are few."""
DRAWS = 5
"""Choices of these labels that accuracies are means of, the same for every trunk of a seed."""

Trunk = Literal["discriminator", "classifier", "untrained", "pixels"]


def probed(seed: int, device: str, budget: float, *, trunk: Trunk) -> Row:
    """Accuracy of a linear probe of what the trunk makes of held-out digits."""
    steps = max(1, round(STEPS * budget))
    held_out = halves(seed).held_out
    row: Row = {}
    if trunk == "pixels":
        values = held_out.inputs.flatten(1)
    else:
        net = new_trunk(seed)
        if trunk == "discriminator":
            row |= train_against_generator(net, seed, device, steps)
        elif trunk == "classifier":
            fit(net, halves(seed), seed, device, ShelfTrainConfig(steps=steps, learning_rate=RATE))
        values = features(net.cpu().eval(), held_out.inputs)
    return row | probe_scores(values, held_out.targets, seed)


def probe_scores(values: Tensor, labels: Tensor, seed: int) -> Row:
    """Mean accuracy of probes fitted to a tenth of the digits, tested on the rest; "shuffled" with labels shuffled."""
    probes = [
        linear_probe(values, labels, generator_for(seed, f"probe {draw}"), held_out=1 - LABELLED, shuffles=2)
        for draw in range(DRAWS)
    ]
    return {
        "accuracy": sum(probe.accuracy.mean for probe in probes) / DRAWS,
        "shuffled": sum(probe.shuffled.mean for probe in probes) / DRAWS,
    }


def new_trunk(seed: int) -> ConvNet:
    """Two convolutions with pooling; ten logits as a classifier, of which a discriminator uses the first two."""
    return ConvNet(ConvNetConfig(widths=(16, 32), pool="average"), generator_for(seed, "weights"))


def features(net: ConvNet, images: Tensor) -> Tensor:
    """[n 128]: what the last linear map reads."""
    return record(net, images, names="hook_pooled")["hook_pooled"].flatten(1)


def train_against_generator(net: ConvNet, seed: int, device: str, steps: int) -> Row:
    """The net learns to tell the training digits from those of a small generator that learns to fool it.

    Both by Adam, the generator on - log D (Goodfellow et al. 2014, the non-saturating loss).
    """
    maker = MLP(MLPConfig(d_in=NOISE, widths=(128,), d_out=64, norm="batch"), generator_for(seed, "generator"))
    net, maker = net.to(device).train(), maker.to(device).train()
    images = halves(seed).examples("training").inputs.to(device)
    optimizers = [torch.optim.Adam(each.parameters(), lr=RATE, betas=BETAS) for each in (net, maker)]
    order = generator_for(seed, "order")
    told_apart = []
    for _ in range(steps):
        real = images[torch.randint(len(images), (BATCH,), generator=order).to(device)]
        noise = torch.randn(BATCH, NOISE, generator=order).to(device)
        fakes = maker(noise).sigmoid().view_as(real)
        judged = realness(net, torch.cat([real, fakes.detach()]))
        target = torch.cat([torch.ones(BATCH), torch.zeros(BATCH)]).to(device)
        step(optimizers[0], F.binary_cross_entropy_with_logits(judged, target))
        step(optimizers[1], F.softplus(-realness(net, fakes)).mean())
        told_apart.append(float(((judged > 0) == (target > 0)).double().mean()))
    last = told_apart[-max(1, steps // 10) :]
    return {"told apart": sum(last) / len(last)}


def realness(net: ConvNet, images: Tensor) -> Tensor:
    """Logit that an image is real."""
    logits = net(images)
    return logits[:, 0] - logits[:, 1]


def step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


TRUNKS: tuple[Trunk, ...] = ("discriminator", "classifier", "untrained", "pixels")
STEP = 1 / round((1 - LABELLED) / ONE_IMAGE) / DRAWS


def better(condition: str, treated: Trunk, control: Trunk) -> Comparison:
    measure = "accuracy of a linear probe"
    return Comparison(condition, measure, "accuracy", treated, control, "greater", POINT, resolution=STEP)


CLAIMS = (
    Claim(
        name="discriminator-features-classify",
        numbers=(4,),
        statement="A GAN's discriminator learns features that serve a classifier, without labels.",
        source="Radford et al. 2015, DCGAN (arXiv:1511.06434), section 5",
        arms={trunk: Arm(probed, {"trunk": trunk}) for trunk in TRUNKS},
        comparisons=(
            better("discriminator against the same net untrained", "discriminator", "untrained"),
            better("discriminator against raw pixels", "discriminator", "pixels"),
        ),
        why="An untrained convolutional net has useful features already, and digits can be told apart by their pixels; "
        "the supervised trunk, which counts for nothing in the verdict, shows what this probe can find.",
        picture=Picture("accuracy", "accuracy of a linear probe"),
    ),
)
