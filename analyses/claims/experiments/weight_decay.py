"""Weight decay: a shrinking of the weights, what it is for SGD and for Adam, and which parameters to spare."""

from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analyses.claims.claim import Arm, Claim, Comparison, Row
from analyses.claims.experiments.digit_classifiers import ONE_IMAGE, POINT, fit, halves, new_mlp
from analyses.claims.experiments.identities import exact
from toy_models.layers import BatchNorm
from toy_models.shelf_config import ShelfTrainConfig
from toy_models.training.seeds import generator_for
from toy_models.training.shelf_optimizer import make_shelf_optimizer

D, EXAMPLES, STEPS = 50, 200, 200
SHRINK_RATE = SHRINK_DECAY = 0.01
"""A step multiplies the weights by 1 - rate x decay = .9999, the factor of the notes."""
TRAIN_STEPS = 400
OPTIMIZERS: dict[str, tuple[Literal["sgd", "adam"], float]] = {
    "SGD": ("sgd", 0.0),
    "momentum": ("sgd", 0.9),
    "Adam": ("adam", 0.0),
}


def decoupled_or_l2(seed: int, device: str, budget: float) -> Row:
    """Largest difference of weights between decay beside the step and in the gradient; and what decay alone does."""
    row: Row = {}
    for name, (optimizer, momentum) in OPTIMIZERS.items():
        pair = [
            regressed(seed, chosen(optimizer, momentum, decoupled), max(2, round(STEPS * budget)))
            for decoupled in (True, False)
        ]
        row[f"apart, {name}"] = float((pair[0] - pair[1]).abs().max())
    for name, decoupled in (("decoupled", True), ("L2", False)):
        start, end = shrunk(seed, chosen("adam", 0.0, decoupled, SHRINK_DECAY, SHRINK_RATE), 100)
        row[f"shrinking off, Adam {name}"] = float((end / start - 0.9999**100).abs().max())
    return row


def chosen(
    optimizer: Literal["sgd", "adam"], momentum: float, decoupled: bool, decay: float = 0.1, rate: float = 0.05
) -> ShelfTrainConfig:
    return ShelfTrainConfig(
        optimizer=optimizer, momentum=momentum, decoupled=decoupled, weight_decay=decay, learning_rate=rate
    )


def regressed(seed: int, config: ShelfTrainConfig, steps: int) -> Tensor:
    """Weights of a linear regression in 50 dimensions after so many steps on all examples."""
    generator = generator_for(seed, "regression")
    x = torch.randn(EXAMPLES, D, generator=generator, dtype=torch.float64)
    y = x @ torch.randn(D, 1, generator=generator, dtype=torch.float64)
    model = linear(seed)
    optimizer = make_shelf_optimizer(model, config)
    for _ in range(steps):
        optimizer.zero_grad()
        F.mse_loss(model(x), y).backward()
        optimizer.step()
    return model.weight.detach()


def shrunk(seed: int, config: ShelfTrainConfig, steps: int) -> tuple[Tensor, Tensor]:
    """Weights before and after so many steps of a loss without slope."""
    model = linear(seed)
    start = model.weight.detach().clone()
    optimizer = make_shelf_optimizer(model, config)
    for _ in range(steps):
        model.weight.grad = torch.zeros_like(model.weight)
        optimizer.step()
    return start, model.weight.detach()


def linear(seed: int) -> nn.Linear:
    model = nn.Linear(D, 1, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(1 + torch.rand(1, D, generator=generator_for(seed, "weights"), dtype=torch.float64))
    return model


def classifier(seed: int, device: str, budget: float, *, decay: float, decay_all: bool) -> Row:
    """Held-out accuracy, and mean |gain| of BatchNorm, of a net on half of the digits."""
    net, objective = new_mlp(seed, widths=(64, 64), norm="batch"), halves(seed)
    steps = max(1, round(TRAIN_STEPS * budget))
    config = replace(chosen("sgd", 0.9, False, decay, 0.1), steps=steps, decay_all=decay_all, decay="cosine")
    fit(net, objective, seed, device, config)
    gains = [module.weight.detach().abs().mean() for module in net.modules() if isinstance(module, BatchNorm)]
    scores = objective.measure(net)
    return {"accuracy": scores["accuracy"], "loss": scores["loss"], "gain": float(sum(gains)) / max(1, len(gains))}


def all_or_weights(decay: float) -> dict[str, Arm]:
    return {
        f"{name}, {decay:g}": Arm(classifier, {"decay": decay, "decay_all": decay_all})
        for name, decay_all in (("weights only", False), ("all", True))
    }


APART = "largest difference of weights, decay beside the step or in the gradient"
DECAYS = (5e-4, 5e-3)

CLAIMS = (
    Claim(
        name="decoupled-decay-is-l2-for-sgd-only",
        numbers=(72,),
        statement="Weight decay multiplies the weights by .9999 or so in each step, which for SGD is an L2 penalty.",
        source="Loshchilov & Hutter 2019, Decoupled Weight Decay Regularization (arXiv:1711.05101)",
        arms={"regression in 50 dimensions": Arm(decoupled_or_l2)},
        comparisons=(
            exact("SGD, not Adam", APART, "regression in 50 dimensions", "apart, SGD", 1e-9, wrong="apart, Adam"),
            exact(
                "without momentum, not with it",
                APART,
                "regression in 50 dimensions",
                "apart, SGD",
                1e-9,
                wrong="apart, momentum",
            ),
            exact(
                "Adam with decay beside the step",
                "largest |weights shrunk in 100 steps - .9999^100|",
                "regression in 50 dimensions",
                "shrinking off, Adam decoupled",
                1e-9,
                wrong="shrinking off, Adam L2",
            ),
        ),
        why="The same runs with Adam, which divides the penalty's gradient by its size, and with momentum, which hands "
        "it on; where the loss has no slope, L2 makes Adam move by the learning rate whatever the decay.",
        trained=False,
    ),
    Claim(
        name="decay-weights-only",
        numbers=(72,),
        statement="Weight decay should shrink weights only, not biases or BatchNorm's gains.",
        source="He et al. 2019, Bag of Tricks for Image Classification (arXiv:1812.01187), section 3.1",
        arms={name: arm for decay in DECAYS for name, arm in all_or_weights(decay).items()},
        comparisons=tuple(
            Comparison(
                f"decay {decay:g}",
                "held-out accuracy, weights only less all",
                "accuracy",
                f"weights only, {decay:g}",
                f"all, {decay:g}",
                "greater",
                POINT / 2,
                resolution=ONE_IMAGE,
            )
            for decay in DECAYS
        ),
        why="The same net, data and decay with biases and gains decayed as well.",
        slip="It contradicts the recipe behind the response figure of the residual-net paper, which, as far as its "
        "code is known to us, decays every parameter; gains that are spared set the responses instead.",
    ),
)
