"""Small nets trained on half of the digits and tested on the other half: what several families of claims share."""

from dataclasses import replace
from functools import cache
from typing import Any

from torch import nn

from toy_models.mlp import MLP
from toy_models.shelf_config import ShelfTrainConfig
from toy_models.training import train_model
from toy_models.training.objectives import Classification
from toy_models.training.seeds import generator_for
from toy_models.vector_config import MLPConfig
from toy_models.vision.data import LabelledImages, digits

TESTED = 898
"""Images in the half that is tested on."""
ONE_IMAGE = 1 / TESTED
POINT = 0.01
"""Of accuracy: the smallest difference that would matter."""


@cache
def all_digits() -> LabelledImages:
    return digits()


def halves(seed: int) -> Classification:
    """One half of the digits to train on and the other as held-out examples, the same for every arm of a seed."""
    return Classification(*all_digits().split(0.5, generator_for(seed, "halves")))


def new_mlp(seed: int, **config: Any) -> MLP:
    """A net for digits with weights of its seed."""
    return MLP(MLPConfig(**config), generator_for(seed, "weights"))


def fit(model: nn.Module, objective: Classification, seed: int, device: str, config: ShelfTrainConfig) -> None:
    """Trains a model in place, the order of the data being the seed's; it ends on the CPU, where it is looked at."""
    never = config.steps + 1
    quiet = replace(config, seed=seed, device="cuda" if device.startswith("cuda") else "cpu")
    train_model(model, objective, replace(quiet, log_every=never, eval_every=never))
    model.cpu()
