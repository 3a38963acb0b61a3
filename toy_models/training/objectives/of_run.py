"""The objective that the config of a run describes, its data read."""

import torch

from toy_models.errors import InputError
from toy_models.image_config import ConvNetConfig, ResNetConfig
from toy_models.shelf_config import ShelfRunConfig
from toy_models.shelf_data_config import DigitsConfig, FeaturesConfig, FolderConfig
from toy_models.training.objectives.base import Objective
from toy_models.training.objectives.classification import Classification
from toy_models.training.objectives.features import SparseFeatures
from toy_models.training.objectives.regression import Reconstruction
from toy_models.training.seeds import generator_for
from toy_models.vector_config import MLPConfig
from toy_models.vision.data import LabelledImages, digits, image_folder


def objective_of(config: ShelfRunConfig, images: tuple[LabelledImages, LabelledImages] | None = None) -> Objective:
    """Classification, reconstruction or sparse features; what is held out, the seed decides.

    `images` (from `split_images`) spares reading them anew.
    Raises `InputError` where the data cannot be read, or have other classes than the model.
    """
    if isinstance(config.data, FeaturesConfig):
        return SparseFeatures(config.data, config.train.seed)
    train, held_out = images or split_images(config.data, config.train.seed)
    if not isinstance(config.model, ConvNetConfig | ResNetConfig | MLPConfig):
        return Reconstruction(train.images, held_out.images)
    n_classes = config.model.d_out if isinstance(config.model, MLPConfig) else config.model.n_classes
    if n_classes != len(train.classes):
        raise InputError(f"the model tells {n_classes} classes apart, {train.source} has {len(train.classes)}")
    return Classification(train, held_out)


def split_images(config: DigitsConfig | FolderConfig, seed: int) -> tuple[LabelledImages, LabelledImages]:
    """(training, held-out) images; `InputError` where there are fewer training images than `n_train`."""
    images = read_images(config)
    generator = generator_for(seed, "held-out")
    train, held_out = images.split(config.held_out, generator)
    if config.n_train is not None:
        if config.n_train > len(train):
            raise InputError(f"n_train is {config.n_train}, but {images.source} has {len(train)} training images")
        train = train.take(torch.randperm(len(train), generator=generator)[: config.n_train].sort().values)
    return train, held_out


def read_images(config: DigitsConfig | FolderConfig) -> LabelledImages:
    """All images that a config names; `InputError` where they do not fit into memory."""
    try:
        if isinstance(config, DigitsConfig):
            return digits(config.size)
        return image_folder(config.path, config.size, config.channels)
    except (RuntimeError, MemoryError) as error:
        raise InputError(f"images of {config.size} x {config.size} pixels do not fit into memory") from error
