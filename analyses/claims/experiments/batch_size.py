"""Large batches, small ones, and batches that grow, on half of the digits."""

import math

import torch.nn.functional as F

from analyses.claims.claim import Arm, Claim, Comparison, Row
from analyses.claims.experiments.digit_classifiers import ONE_IMAGE, POINT, fit, halves, new_mlp
from interp.units import sharpness
from toy_models.mlp import MLP
from toy_models.shelf_config import ShelfTrainConfig
from toy_models.training.objectives import Classification
from toy_models.training.seeds import generator_for

EPOCHS = 45
SMALL, LARGE = 16, 256
RATE = 0.1
LOSS = 0.1
"""Nats on training images at which a net counts as trained, where nets are compared at the same loss."""
CHUNK, MOST = 50, 6000
"""Updates between two looks at the loss, and in all."""
SHARPER = 1.5
"""How many times as sharp would matter."""


Stages = list[list[int | float]]
"""(batch size, learning rate) of each."""


def in_stages(seed: int, device: str, budget: float, *, stages: Stages) -> Row:
    """A net after stages that share the epochs equally."""
    net, objective = a_net(seed), halves(seed)
    updates = 0
    for number, (batch, rate) in enumerate(stages):
        epochs = EPOCHS / len(stages) * budget
        steps = max(1, round(epochs * (len(objective.examples("training")) // int(batch))))
        fit(net, objective, seed_of_stage(seed, number), device, plain(steps, int(batch), rate))
        updates += steps
    return scores(net, objective, seed) | {"updates": float(updates)}


def to_the_loss(seed: int, device: str, budget: float, *, batch: int, loss: float = LOSS) -> Row:
    """A net trained with batches of one size until its loss on the training images is as low as that."""
    net, objective, updates = a_net(seed), halves(seed), 0
    most = max(1, round(MOST * budget))
    while updates < most and objective.measure(net, "training")["loss"] > loss:
        steps = min(CHUNK, most - updates)
        fit(net, objective, seed_of_stage(seed, updates), device, plain(steps, batch, RATE))
        updates += steps
    return scores(net, objective, seed) | {"updates": float(updates)}


def a_net(seed: int) -> MLP:
    return new_mlp(seed, widths=(64,))


def plain(steps: int, batch: int, rate: float) -> ShelfTrainConfig:
    """SGD without momentum: nothing is remembered from one stage to the next."""
    return ShelfTrainConfig(steps=steps, batch_size=batch, optimizer="sgd", momentum=0.0, learning_rate=rate)


def seed_of_stage(seed: int, number: int) -> int:
    """Another order of the data in each stage of a run."""
    return 100_000 * seed + number


def scores(net: MLP, objective: Classification, seed: int) -> Row:
    """Held-out accuracy, training loss, and how sharply that loss bends."""
    examples = objective.examples("training")
    bends = sharpness(net, examples.inputs, examples.targets, F.cross_entropy, generator_for(seed, "sharpness"))
    return {
        "accuracy": objective.measure(net)["accuracy"],
        "training loss": objective.measure(net, "training")["loss"],
        "sharpness": bends.value,
    }


def constant(batch: int, rate: float = RATE) -> Arm:
    return Arm(in_stages, {"stages": [[batch, rate]]})


def better(condition: str, treated: str, control: str, margin: float = POINT) -> Comparison:
    return Comparison(
        condition, "held-out accuracy", "accuracy", treated, control, "greater", margin, resolution=ONE_IMAGE
    )


SCALED = RATE * LARGE / SMALL
GROWING: Stages = [[SMALL, RATE], [4 * SMALL, RATE], [16 * SMALL, RATE]]
DECAYING: Stages = [[SMALL, RATE], [SMALL, RATE / 4], [SMALL, RATE / 16]]

CLAIMS = (
    Claim(
        name="large-batches-hurt",
        numbers=(71,),
        statement="Large batches can hurt.",
        source="Keskar et al. 2017, On Large-Batch Training (arXiv:1609.04836)",
        arms={
            "small": constant(SMALL),
            "large": constant(LARGE),
            "large, rate scaled": constant(LARGE, SCALED),
            "small, to the loss": Arm(to_the_loss, {"batch": SMALL}),
            "large, to the loss": Arm(to_the_loss, {"batch": LARGE}),
        },
        comparisons=(
            better("equal epochs and learning rate", "small", "large"),
            better("equal epochs, learning rate ~ batch", "small", "large, rate scaled"),
            better("equal training loss", "small, to the loss", "large, to the loss"),
            Comparison(
                "sharpness at equal training loss",
                "largest eigenvalue of the Hessian, large over small batches",
                "sharpness",
                "large, to the loss",
                "small, to the loss",
                "greater",
                math.log(SHARPER),
                scale="log ratio",
            ),
        ),
        why="At equal epochs a large batch makes fewer updates, so that a net may simply be less trained: hence the "
        "same with the learning rate scaled, and at equal training loss. Nets start from the same weights.",
    ),
    Claim(
        name="start-small-and-grow",
        numbers=(93,),
        statement="Start with small batches and increase their size.",
        source="Smith et al. 2018, Don't Decay the Learning Rate, Increase the Batch Size (arXiv:1711.00489)",
        arms={
            "growing": Arm(in_stages, {"stages": GROWING}),
            "decaying rate": Arm(in_stages, {"stages": DECAYING}),
            "small": constant(SMALL),
            "large": constant(LARGE),
        },
        comparisons=(
            better("growing against large batches", "growing", "large", POINT / 2),
            better("growing against small batches", "growing", "small", POINT / 2),
            Comparison(
                "as accurate as a decaying learning rate",
                "held-out accuracy",
                "accuracy",
                "growing",
                "decaying rate",
                "equivalent",
                POINT,
                resolution=ONE_IMAGE,
            ),
            Comparison(
                "with fewer updates than a decaying learning rate",
                "updates, decaying rate over growing batch",
                "updates",
                "decaying rate",
                "growing",
                "greater",
                math.log(1.5),
                scale="log ratio",
            ),
        ),
        why="Batches 16, 64 and 256 for a third of the epochs each, against 16 and 256 throughout, and against 16 with "
        "a learning rate divided by 4 where batches are multiplied by 4.",
    ),
    Claim(
        name="batches-in-multiples-of-32",
        numbers=(71,),
        statement="Batch sizes should be multiples of 32.",
        source="the notes; vendors' advice on how GPUs divide up their work",
        arms={f"batch {n}": constant(n) for n in (31, 32, 33)},
        comparisons=tuple(
            Comparison(
                f"accuracy with {n} as with 32",
                "held-out accuracy",
                "accuracy",
                f"batch {n}",
                "batch 32",
                "equivalent",
                POINT,
                resolution=ONE_IMAGE,
            )
            for n in (31, 33)
        ),
        why="Neighbouring sizes that are no multiples.",
        untestable="It is about the speed of GPUs, which this claim does not run on. What is checked instead is that "
        "nothing but speed could be gained: nets trained with 31 and 33 images in a batch are as accurate.",
    ),
)
