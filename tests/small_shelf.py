"""Runs of models of images and vectors, small enough to be made many times in a test."""

from dataclasses import replace
from typing import Any

from toy_models.shelf_config import ShelfModelConfig, ShelfRunConfig, ShelfTrainConfig
from toy_models.shelf_data_config import DigitsConfig, FeaturesConfig
from toy_models.vector_config import MLPConfig, SuperpositionConfig

TRAIN = ShelfTrainConfig(steps=12, batch_size=16, learning_rate=1e-2, log_every=3, eval_every=4)
MODEL = MLPConfig(widths=(9,), norm="batch", dropout=0.3, input_dropout=0.1)


def shelf_run(model: ShelfModelConfig = MODEL, n_train: int = 40, **changes: Any) -> ShelfRunConfig:
    """12 steps on 40 digits, with BatchNorm and dropout; `changes` are of the training."""
    return ShelfRunConfig(model, DigitsConfig(n_train=n_train), replace(TRAIN, **changes))


def superposition_run(**changes: Any) -> ShelfRunConfig:
    """12 steps of five features in two dimensions."""
    return ShelfRunConfig(SuperpositionConfig(), FeaturesConfig(n_held_out=64), replace(TRAIN, **changes))
