"""Layers of the reference models, each written out so that its inside can be read and replaced."""

from toy_models.layers.batch_norm import BatchNorm
from toy_models.layers.dropout import Dropout
from toy_models.layers.initial import ACTIVATIONS, initialise
from toy_models.layers.layer_norm import LayerNorm
from toy_models.layers.norms import make_norm

__all__ = [
    "ACTIVATIONS",
    "BatchNorm",
    "Dropout",
    "LayerNorm",
    "initialise",
    "make_norm",
]
