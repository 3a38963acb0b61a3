"""Residual nets and their plain counterparts trained on half of the digits: one run serves several claims.

The learning rate is constant, so that a run to the long budget (4x) passes the short one (1x) on its way. What is read
off a net is read with BatchNorm's statistics of all training images: running averages lag behind weights that move
fast, and more so in deep plain nets.
"""

from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from analyses.claims.claim import Row
from analyses.claims.experiments.residual_measures import (
    COMPARED,
    block_outputs,
    error_and_loss,
    geometric_mean,
    gradients,
    mean,
    responses,
    settling_steps,
)
from toy_models.image_config import Shortcut
from toy_models.layer_kinds import NormKind
from toy_models.layers.population import with_population_statistics
from toy_models.vision import ResNet, ResNetConfig
from toy_models.vision.data import LabelledImages, digits

STEPS = 400
"""Of the long budget; 4x the short one."""
BATCH = 64
TRAINED = 899
"""Images in a half of the digits."""
LOSS = 0.5
"""Nats, of a mean over a pass; a net that guesses has 2.3."""
FRACTIONS = tuple(part / 128 for part in (0, 1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128))
"""Shares of the steps after which a net is looked at; 32/128 is the short budget."""


def train_net(
    seed: int,
    device: str,
    budget: float,
    *,
    depth: int = 20,
    residual: bool = True,
    block: Literal["basic", "bottleneck"] = "basic",
    norm: NormKind = "batch",
    width: int = 8,
    rate: float = 0.1,
    decay: float = 1e-4,
    decay_norm: bool = True,
    inside: bool = False,
) -> Row:
    """Errors (percent) and losses by step, how soon the loss falls; if `inside`, responses and when blocks settle."""
    net = make_net(seed, device, depth=depth, residual=residual, block=block, norm=norm, width=width)
    train, test = halves(seed, device)
    row: Row = gradients(net, train)
    if inside:
        row |= {f"{name} at the start": value for name, value in responses(net, train).items()}
    steps = max(1, round(STEPS * budget))
    watch = Watch(train, steps, inside)
    losses = fit(net, train, steps, seed, rate=rate, decay=decay, decay_norm=decay_norm, watch=watch)
    row |= watch.row()
    row["steps to the loss"] = steps_to(losses, len(train) // BATCH)
    row["test error 4x"] = error_and_loss(with_population_statistics(net, train.images), test)[0]
    if inside:
        row |= responses(net, train)
        row["change of share"] = float(row["share"]) / float(row["share at the start"])  # type: ignore[arg-type]
    return row


def make_net(
    seed: int,
    device: str,
    *,
    depth: int = 20,
    residual: bool = True,
    block: Literal["basic", "bottleneck"] = "basic",
    norm: NormKind = "batch",
    width: int = 8,
    shortcut: Shortcut = "A",
    init_scale: float = 1.0,
) -> ResNet:
    """A net of three stages, `width` filters in the first and twice as many in each that follows."""
    config = ResNetConfig(
        depth=depth,
        residual=residual,
        block=block,
        norm=norm,
        widths=(width, 2 * width, 4 * width),
        shortcut=shortcut,
        init_scale=init_scale,
    )
    return ResNet(config, torch.Generator().manual_seed(seed)).to(device)


def halves(seed: int, device: str) -> tuple[LabelledImages, LabelledImages]:
    """Half of the digits to train on, half to test, of each class alike; the same for all arms of a seed."""
    train, test = digits().split(0.5, torch.Generator().manual_seed(seed))
    return moved(train, device), moved(test, device)


def moved(data: LabelledImages, device: str) -> LabelledImages:
    return replace(data, images=data.images.to(device), labels=data.labels.to(device))


class Watch:
    """Looks at a net on its way: error and loss on all training images, and what each block gives out."""

    def __init__(self, train: LabelledImages, steps: int, inside: bool):
        self.train, self.inside = train, inside
        self.short = max(1, round(steps / 4))
        self.looks = sorted({round(steps * fraction) for fraction in FRACTIONS} | {self.short})
        self.errors: list[float] = []
        self.losses: list[float] = []
        self.outputs: list[list[Tensor]] = []

    def __call__(self, step: int, net: ResNet) -> None:
        if step not in self.looks:
            return
        settled = with_population_statistics(net, self.train.images)
        error, loss = error_and_loss(settled, self.train)
        self.errors.append(error)
        self.losses.append(loss)
        if self.inside:
            self.outputs.append(block_outputs(settled, self.train.images[:COMPARED]))

    def row(self) -> Row:
        """Curves by step; errors at both budgets; if it looked inside, when the blocks of each stage settled.

        "loss 1x" is the mean of the looks in the second half of the short budget.
        """
        row: Row = {"step": [float(look) for look in self.looks]}
        row |= {"training error": self.errors, "training loss": self.losses}
        row |= {"error 1x": self.errors[self.looks.index(self.short)], "error 4x": self.errors[-1]}
        late = [
            loss for look, loss in zip(self.looks, self.losses, strict=True) if self.short / 2 <= look <= self.short
        ]
        row["loss 1x"] = mean(late)
        if not self.inside:
            return row
        settled = settling_steps(self.looks, self.outputs)
        third = len(settled) // 3
        stages = {f"stage {i + 1}": settled[i * third : (i + 1) * third] for i in range(3)}
        row |= {f"settled {name}": geometric_mean(values) for name, values in stages.items()}
        return row | {"settled by block": settled}


def fit(
    net: ResNet,
    train: LabelledImages,
    steps: int,
    seed: int,
    *,
    rate: float = 0.1,
    decay: float = 1e-4,
    decay_norm: bool = True,
    falling: bool = False,
    watch: Watch | None = None,
) -> list[float]:
    """Loss of each minibatch under SGD with momentum .9; minibatches are drawn anew for each pass, from the seed.

    `decay` is weight decay, of BatchNorm's gamma and all beta only if `decay_norm`; with `falling` the learning rate
    falls linearly to 0.
    """
    matrices, others = ([p for p in net.parameters() if (p.ndim > 1) is many] for many in (True, False))
    groups = [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": decay * decay_norm}]
    optimizer = torch.optim.SGD(groups, lr=rate, momentum=0.9)
    generator = torch.Generator().manual_seed(1000 + seed)
    losses: list[float] = []
    for step in range(steps):
        if watch is not None:
            watch(step, net)
        if step % (len(train) // BATCH) == 0:
            order = torch.randperm(len(train), generator=generator).split(BATCH)
        batch = train.take(order[step % (len(train) // BATCH)].to(train.labels.device))
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - step / steps) if falling else rate
        optimizer.zero_grad()
        loss = F.cross_entropy(net.train()(batch.images), batch.labels)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    if watch is not None:
        watch(steps, net)
    return losses


def steps_to(losses: list[float], window: int) -> float:
    """Steps until the mean loss of the last `window` minibatches is below `LOSS`; all of them if it never is."""
    for end in range(window, len(losses) + 1):
        if sum(losses[end - window : end]) / window < LOSS:
            return float(end)
    return float(len(losses))
