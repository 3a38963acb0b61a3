"""The toy model of superposition (Elhage et al. 2022): more features than dimensions, read out through a rectifier."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from toy_models.hook_point import HookPoint
from toy_models.mlp import check_vectors
from toy_models.vector_config import SuperpositionConfig


class Superposition(nn.Module):
    """hidden = x W, out = relu(hidden Wᵀ + b): row i of W [feature hidden] is the direction that stands for feature i.

    x is [batch feature], out too. Weights come from `generator`: N(0, init_scale² / n_features), biases 0.
    Raises `InputError` for input of another size, NaN, or whole numbers.
    """

    def __init__(self, config: SuperpositionConfig, generator: torch.Generator | None = None):
        super().__init__()
        self.config = config
        std = config.init_scale / math.sqrt(config.n_features)
        drawn = torch.empty(config.n_features, config.d_hidden).normal_(std=std, generator=generator)
        self.W, self.b = nn.Parameter(drawn), nn.Parameter(torch.zeros(config.n_features))
        self.hook_hidden = HookPoint("batch unit")
        self.hook_pre = HookPoint("batch feature")
        self.hook_out = HookPoint("batch feature")

    def forward(self, x: Float[Tensor, "batch feature"]) -> Float[Tensor, "batch feature"]:
        hidden = self.hook_hidden(check_vectors(x, self.config.n_features) @ self.W)
        return self.hook_out(torch.relu(self.hook_pre(hidden @ self.W.T + self.b)))
