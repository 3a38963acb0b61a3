"""Upper layers whose inputs shift, because layers below learn or only move, against layers below that stand still."""

import itertools

import torch
from torch import nn

from analyses.claims.claim import Arm, Claim, Comparison, Picture, Row
from analyses.claims.experiments.normalisation_nets import Watch
from analyses.claims.experiments.vector_training import fit, split_digits
from toy_models.mlp import MLP
from toy_models.training.seeds import generator_for
from toy_models.vector_config import MLPConfig

BELOW = 2
"""Layers whose shift is in question, of five."""
IMAGE = 1 / 360


def upper_layers(seed: int, device: str, budget: float, below: str) -> Row:
    """Five layers of rectifiers on digits, SGD at rate 0.1, the lowest two "frozen", "learning", or "moving".

    Moving: each of their updates has the size of the one that learning would make, tensor by tensor, and a random
    direction: the inputs of the layers above shift, and carry no more than before. See `Watch` for what is measured.
    """
    training, test = split_digits(seed, 1437, device)
    model = MLP(MLPConfig(widths=(64,) * 5), generator_for(seed, "weights")).to(device)
    watch = Watch(model, training.take(torch.arange(0, len(training), 3, device=device)), test, budget)
    lower = list(itertools.chain.from_iterable(model.blocks[i].parameters() for i in range(BELOW)))
    generator = generator_for(seed, "directions")

    def change_gradients() -> None:
        if below == "frozen":
            for parameter in lower:
                parameter.grad = None
        elif below == "moving":
            point_anywhere(lower, generator)

    fit(model, training, steps=watch.steps, lr=0.1, seed=seed, before_update=change_gradients, after=watch)
    return watch.row()


def point_anywhere(parameters: list[nn.Parameter], generator: torch.Generator) -> None:
    """Gradients of the same size, tensor by tensor, in directions drawn from `generator`."""
    for parameter in parameters:
        if parameter.grad is not None:
            drawn = torch.randn(parameter.shape, generator=generator).to(parameter)
            parameter.grad = drawn * (parameter.grad.norm() / drawn.norm())


def slower(condition: str, control: str) -> Comparison:
    """Accuracy with the layers below standing still, minus that with them shifting."""
    return Comparison(
        condition, "accuracy averaged over training", "average accuracy", "frozen", control, "greater", 0.02,
        resolution=IMAGE,
    )  # fmt: skip


CLAIMS = (
    Claim(
        name="layers-are-held-up-by-the-shift-below",
        numbers=(27,),
        statement="Every layer is a net of its own whose inputs shift while the layers below train, which holds it up.",
        source="Ioffe & Szegedy 2015, Batch Normalization, arXiv:1502.03167, section 2",
        arms={below: Arm(upper_layers, {"below": below}) for below in ("frozen", "learning", "moving")},
        comparisons=(
            slower("layers below that learn", "learning"),
            slower("layers below that move as much at random", "moving"),
        ),
        why="With the layers below frozen nothing shifts. If they learn, shift and better features come together; if "
        "they move at random by steps of the same size, shift comes alone.",
        picture=Picture("accuracy by step", "test accuracy", "step", "updates"),
    ),
)
