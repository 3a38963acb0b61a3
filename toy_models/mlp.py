"""A multi-layer perceptron, read top to bottom, every step of it on a hook point.

Names are those of all models on the shelf: `hook_pre` what a linear map gives, `hook_norm` the same normalised,
`hook_post` after the activation, `hook_mask` of dropout, `hook_logits`. The axis that indexes units is `unit`.
"""

import math
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from toy_models.errors import InputError
from toy_models.hook_point import HookPoint
from toy_models.layers import ACTIVATIONS, Dropout, initialise, make_norm
from toy_models.vector_config import MLPConfig

VECTOR = "batch unit"


class MLP(nn.Module):
    """`model(x)` gives [batch d_out] for x [batch d_in], or for anything that flattens to it, such as images.

    Weights come from `generator`. Raises `InputError` for input of another size, NaN, or whole numbers.
    """

    def __init__(self, config: MLPConfig, generator: torch.Generator | None = None):
        super().__init__()
        self.config = config
        self.dropout = Dropout(config.input_dropout, VECTOR)
        shapes = pairwise((config.d_in, *config.widths))
        self.blocks = nn.ModuleList(Block(config, *shape) for shape in shapes)
        self.classify = nn.Linear((config.d_in, *config.widths)[-1], config.d_out)
        self.hook_logits = HookPoint("batch class")
        initialise(self, config.activation, config.init_scale, generator, last=self.classify)

    def forward(self, x: Float[Tensor, "batch *any"]) -> Float[Tensor, "batch d_out"]:
        x = self.dropout(check_vectors(x, self.config.d_in))
        for block in self.blocks:
            x = block(x)
        return self.hook_logits(self.classify(x))


class Block(nn.Module):
    """Linear map, normalisation, activation, dropout."""

    def __init__(self, config: MLPConfig, units_in: int, units: int):
        super().__init__()
        self.linear = nn.Linear(units_in, units)
        self.hook_pre = HookPoint(VECTOR)
        self.normalises = config.norm != "none"
        if self.normalises:
            self.norm = make_norm(config.norm, units, VECTOR, config.norm_eps)
            self.hook_norm = HookPoint(VECTOR)
        self.activation = ACTIVATIONS[config.activation]
        self.hook_post = HookPoint(VECTOR)
        self.dropout = Dropout(config.dropout, VECTOR)

    def forward(self, x: Float[Tensor, "batch unit_in"]) -> Float[Tensor, "batch unit"]:
        x = self.hook_pre(self.linear(x))
        if self.normalises:
            x = self.hook_norm(self.norm(x))
        return self.dropout(self.hook_post(self.activation(x)))


def check_vectors(x: Tensor, size: int) -> Float[Tensor, "batch size"]:
    """x with everything but the batch flattened; `InputError` unless that gives `size` numbers without NaN."""
    if x.ndim < 2 or math.prod(x.shape[1:]) != size:
        raise InputError(f"input must be [batch {size}], or flatten to it, got {list(x.shape)}")
    if not x.is_floating_point():
        raise InputError(f"input must be floating-point numbers, got {x.dtype}")
    if x.device.type == "cpu" and bool(x.isnan().any()):
        raise InputError(f"{int(x.isnan().sum())} of {x.numel()} numbers of the input are NaN")
    return x.flatten(1)
