"""Blocks of two linear maps with a rectifier between, with or without a shortcut around each (He et al. 2015, sec. 3).

Names are those of all models on the shelf: `hook_pre` and `hook_post` before and after the rectifier, `hook_shortcut`
what a block is added to, `hook_add` what it gives out. The axis that indexes units is `unit`.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from toy_models.config import check_field_types
from toy_models.hook_point import HookPoint
from toy_models.mlp import VECTOR, check_vectors
from toy_models.vector_config import check_not_negative, check_sizes


@dataclass(frozen=True)
class ResidualMLPConfig:
    """Raises `InputError` when made, if no model can be built from the values; the message says which value and why."""

    d: int = 32
    """Numbers that the model, and each block, reads and gives out."""
    d_hidden: int = 64
    """Rectified units of each block; with 2 d of them a block can compute the identity, relu(x) - relu(-x)."""
    n_blocks: int = 8
    """Blocks, one after another."""
    residual: bool = True
    """Whether a block adds what it computes to what it reads, or puts it in its place."""
    init_scale: float = 1.0
    """Factor on the initial weights."""

    def __post_init__(self) -> None:
        check_field_types(self)
        check_sizes(self, "d", "d_hidden", "n_blocks")
        check_not_negative(self, "init_scale")


class ResidualMLP(nn.Module):
    """`model(x)` gives [batch d] for x [batch d]. Weights come from `generator`, biases are 0 at first.

    `read` ~ N(0, scale² / d) and `write` ~ N(0, 2 scale² / d_hidden), so that a block keeps the size of its input.
    """

    def __init__(self, config: ResidualMLPConfig, generator: torch.Generator | None = None):
        super().__init__()
        self.config = config
        self.blocks = nn.ModuleList(Block(config, generator) for _ in range(config.n_blocks))

    def forward(self, x: Float[Tensor, "batch d"]) -> Float[Tensor, "batch d"]:
        x = check_vectors(x, self.config.d)
        for block in self.blocks:
            x = block(x)
        return x


class Block(nn.Module):
    """x + write(relu(read(x))), or without x."""

    def __init__(self, config: ResidualMLPConfig, generator: torch.Generator | None):
        super().__init__()
        self.read, self.write = nn.Linear(config.d, config.d_hidden), nn.Linear(config.d_hidden, config.d)
        for linear, gain in ((self.read, 1.0), (self.write, 2.0)):
            std = config.init_scale * math.sqrt(gain / linear.in_features)
            nn.init.normal_(linear.weight, std=std, generator=generator)
            nn.init.zeros_(linear.bias)
        self.hook_pre, self.hook_post = HookPoint(VECTOR), HookPoint(VECTOR)
        self.residual = config.residual
        if config.residual:
            self.hook_shortcut = HookPoint(VECTOR)
        self.hook_add = HookPoint(VECTOR)

    def forward(self, x: Float[Tensor, "batch unit"]) -> Float[Tensor, "batch unit"]:
        computed = self.write(self.hook_post(torch.relu(self.hook_pre(self.read(x)))))
        return self.hook_add(self.hook_shortcut(x) + computed if self.residual else computed)
