"""What is read off a residual net or its plain counterpart: errors, gradients, responses, when each block settles."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from analyses.claims.claim import Row
from interp.hooks import record
from interp.units import gradient_norms, linear_cka, norm_shares, unit_moments
from toy_models.layers.population import with_population_statistics
from toy_models.vision import ResNet
from toy_models.vision.data import LabelledImages

SEEN = 256
"""Training images on which gradients and shares are measured."""
COMPARED = 128
"""Training images on which a block's output is compared with what it will be at the end."""
SETTLED = 0.8
"""A block has settled once its output has come this share of the way from where it began to where it ends."""


def error_and_loss(net: ResNet, data: LabelledImages) -> tuple[float, float]:
    """Percentage of images put into a wrong class, and cross-entropy in nats, of a net in evaluation mode."""
    with torch.no_grad():
        logits = net(data.images)
    wrong = (logits.argmax(1) != data.labels).double().mean()
    return 100 * float(wrong), float(F.cross_entropy(logits, data.labels))


def gradients(net: ResNet, data: LabelledImages) -> Row:
    """Norm of the loss's gradient by the weights of each block, of the first, and of the first over the last."""
    seen = data.take(torch.arange(min(SEEN, len(data))))
    found = gradient_norms(net.train(), seen.images, seen.labels, F.cross_entropy)
    squares = [0.0 for _ in net.blocks]
    for name, norm in zip(found.names, found.norms.mean.tolist(), strict=True):
        if name.startswith("blocks."):
            squares[int(name.split(".")[1])] += norm**2
    norms = [math.sqrt(square) for square in squares]
    return {
        "block": [float(i + 1) for i in range(len(norms))],
        "gradient by block": norms,
        "first gradient": norms[0],
        "first over last gradient": norms[0] / norms[-1],
    }


def responses(net: ResNet, data: LabelledImages) -> Row:
    """Standard deviation of what blocks compute (before the addition) and give out; gamma; share of the addition.

    The share is ||F(x)|| / ||x|| with x what the block is added to, in a plain net what it reads; blocks that change
    the shape are left out, since a plain net has nothing to compare there.
    """
    settled = with_population_statistics(net, data.images)
    images, generator = data.images[:SEEN], torch.Generator().manual_seed(0)
    last = "hook_pre" if net.config.norm == "none" else "hook_norm"
    computed = [f"blocks.{i}.layers.{net.config.layers_per_block - 1}.{last}" for i in range(len(net.blocks))]
    given = [f"blocks.{i}.hook_post" for i in range(len(net.blocks))]
    found = unit_moments(settled, data.images, [*computed, *given])
    stds = {name: float(moments.var.mean().sqrt()) for name, moments in found.items()}
    per_stage = net.config.blocks_per_stage
    same = [i for i in range(1, len(net.blocks)) if i % per_stage]
    shares = norm_shares(settled, images, [(computed[i], given[i - 1]) for i in same], generator)
    gammas = [p.detach().abs().mean() for name, p in net.named_parameters() if name.endswith("layers.1.norm.weight")]
    return {
        "response std by block": [stds[name] for name in computed],
        "response std": mean([stds[name] for name in computed]),
        "output std by block": [stds[name] for name in given],
        "output std kept": stds[given[-1]] / stds[given[0]],
        "share": geometric_mean([each.share.mean for each in shares]),
        "gamma": float(torch.stack(gammas).mean()) if gammas else math.nan,
    }


def block_outputs(settled: ResNet, images: Tensor) -> list[Tensor]:
    """What each block gives out for the images, of a net in evaluation mode."""
    names = [f"blocks.{i}.hook_post" for i in range(len(settled.blocks))]
    run = record(settled, images, names=names)
    return [run[name] for name in names]


def settling_steps(steps: Sequence[int], outputs: Sequence[Sequence[Tensor]]) -> list[float]:
    """For each block, the step at which its output is `SETTLED` of the way from its first to its last.

    The way is linear CKA with the last output, less what it was at first, over 1 less what it was at first: a block
    that shortcuts make similar to its end from the beginning gains nothing by that.
    """
    found = []
    for block in range(len(outputs[0])):
        alike = [linear_cka(each[block], outputs[-1][block]) for each in outputs]
        left = max(1 - alike[0], 0.0)
        way = [(a - alike[0]) / left for a in alike] if left > 1e-9 else [1.0]
        found.append(max(first_crossing(steps, way, SETTLED), 1.0))
    return found


def first_crossing(steps: Sequence[int], values: Sequence[float], level: float) -> float:
    """The step at which values first reach the level, straight lines between them; the last step if they never do."""
    for index, value in enumerate(values):
        if value >= level:
            if index == 0:
                return float(steps[0])
            before = values[index - 1]
            part = (level - before) / (value - before)
            return steps[index - 1] + part * (steps[index] - steps[index - 1])
    return float(steps[-1])


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def geometric_mean(values: Sequence[float]) -> float:
    return math.exp(mean([math.log(value) for value in values]))
