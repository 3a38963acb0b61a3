"""Weight decay before BatchNorm: it changes how large the steps are in effect, and nothing else."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from analyses.claims.claim import Arm, Claim, Row
from analyses.claims.experiments.digit_classifiers import all_digits
from analyses.claims.experiments.identities import exact
from toy_models.layer_kinds import NormKind
from toy_models.training.seeds import generator_for
from toy_models.vision import ConvNet, ConvNetConfig

STEPS, RATE, DECAY = 60, 0.05, 0.5
SCALE = 3.0
Way = Literal["decay", "growing step"]
WAYS: tuple[Way, Way] = ("decay", "growing step")
NORMS: tuple[NormKind, NormKind] = ("batch", "none")


def before_batch_norm(seed: int, device: str, budget: float) -> Row:
    """What scaling the filters changes, and decay against the step sizes that it amounts to, with and without norm."""
    row: Row = {}
    images = all_digits().images[:256].double()
    steps = max(2, round(STEPS * budget))
    for norm in NORMS:
        net = conv_net(seed, norm)
        before = net(images)
        with torch.no_grad():
            for each in filters(net):
                each.mul_(SCALE)
        row[f"scaled, {norm}"] = float((net(images) - before).detach().abs().max())
        decayed, grown = (descended(seed, norm, steps, how)(images).detach() for how in WAYS)
        row[f"decay, {norm}"] = float((decayed - grown).abs().max())
    return row


def conv_net(seed: int, norm: NormKind) -> ConvNet:
    """Two convolutions in float64, BatchNorm (if any) exact: with next to nothing added under its root."""
    config = ConvNetConfig(widths=(4, 4), norm=norm, norm_eps=1e-30, pool="average")
    return ConvNet(config, generator_for(seed, "weights")).double().train()


def filters(net: nn.Module) -> list[nn.Parameter]:
    return [p for p in net.parameters() if p.ndim == 4]


def descended(seed: int, norm: NormKind, steps: int, how: Way) -> ConvNet:
    """A net after plain descent whose filters w decay, or take steps that grow in a way that amounts to it.

    With a = 1 - rate x decay, w -> a w - rate g(w). Where only the direction of w counts, g(c w) = g(w) / c, so that
    v = w / a^t takes the steps v -> v - rate a^(-2t - 1) g(v): the same net, without decay.
    """
    net, data = conv_net(seed, norm), all_digits()
    order, shrink = generator_for(seed, "batches"), 1 - RATE * DECAY
    conv = {id(p) for p in filters(net)}
    for t in range(steps):
        index = torch.randint(len(data), (64,), generator=order)
        loss = F.cross_entropy(net(data.images[index].double()), data.labels[index])
        parameters = list(net.parameters())
        with torch.no_grad():
            for p, g in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                rate = RATE
                if id(p) in conv and how == "decay":
                    p.mul_(shrink)
                elif id(p) in conv:
                    rate *= shrink ** (-2 * t - 1)
                p.sub_(rate * g)
    return net


CLAIMS = (
    Claim(
        name="decay-before-batch-norm-is-a-step-size",
        numbers=(72,),
        statement="Before BatchNorm the size of the weights does not matter, so that decaying them changes the "
        "effective step size only.",
        source="van Laarhoven 2017 (arXiv:1706.05350); Zhang et al. 2019 (arXiv:1810.12281)",
        arms={"convolutions on digits": Arm(before_batch_norm)},
        comparisons=(
            exact(
                "filters times 3",
                "largest change of a logit",
                "convolutions on digits",
                "scaled, batch",
                1e-9,
                wrong="scaled, none",
            ),
            exact(
                "decay against growing steps",
                "largest difference of a logit after 60 steps",
                "convolutions on digits",
                "decay, batch",
                1e-6,
                wrong="decay, none",
            ),
        ),
        why="The same net without BatchNorm. BatchNorm is exact here: what is usually added under its root "
        "would let sizes matter as soon as variances come near to it.",
        trained=False,
    ),
)
