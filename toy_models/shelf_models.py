"""The models of the shelf, made from their configs."""

import torch

from toy_models.autoencoder import DropoutAutoencoder
from toy_models.errors import InputError
from toy_models.image_config import ConvNetConfig, ResNetConfig
from toy_models.mlp import MLP
from toy_models.shelf_config import ShelfModelConfig
from toy_models.superposition import Superposition
from toy_models.vector_config import DropoutAutoencoderConfig, MLPConfig
from toy_models.vision import ConvNet, ResNet

ShelfModel = ConvNet | ResNet | MLP | DropoutAutoencoder | Superposition


def make_shelf_model(config: ShelfModelConfig, generator: torch.Generator) -> ShelfModel:
    """The model of a config, its weights drawn by `generator`; torch's default generator is left as it was.

    Raises `InputError` for a model that is too large to be made.
    """
    with torch.random.fork_rng(devices=[]):  # torch's own layers draw weights first, which are then replaced
        try:
            return _make(config, generator)
        except (RuntimeError, MemoryError, OverflowError) as error:
            raise InputError(f"the model cannot be built: {str(error).splitlines()[0]}") from error


def _make(config: ShelfModelConfig, generator: torch.Generator) -> ShelfModel:
    if isinstance(config, ConvNetConfig):
        return ConvNet(config, generator)
    if isinstance(config, ResNetConfig):
        return ResNet(config, generator)
    if isinstance(config, MLPConfig):
        return MLP(config, generator)
    if isinstance(config, DropoutAutoencoderConfig):
        return DropoutAutoencoder(config, generator)
    return Superposition(config, generator)
