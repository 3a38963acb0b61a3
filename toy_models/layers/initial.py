"""Activations by name, and the initial weights that fit them."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from toy_models.layer_kinds import ActivationKind

ACTIVATIONS: dict[ActivationKind, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "gelu": torch.nn.functional.gelu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "identity": lambda x: x,
}
GAINS: dict[ActivationKind, float] = {"relu": 2.0, "gelu": 2.0, "sigmoid": 1.0, "tanh": 1.0, "identity": 1.0}


@torch.no_grad()
def initialise(
    model: nn.Module, activation: ActivationKind, scale: float, generator: torch.Generator | None, last: nn.Module
) -> None:
    """Every linear map and convolution ~ N(0, scale² gain / fan_in), biases 0, in the order of `named_modules`.

    The gain is 2 after a rectifier, which halves the second moment (He et al. 2015, arXiv:1502.01852), else 1; of
    `last`, the layer that gives the output, always 1. Draws are made on the CPU, the same for every device.
    """
    for module in model.modules():
        if not isinstance(module, nn.Linear | nn.Conv2d):
            continue
        gain = 1.0 if module is last else GAINS[activation]
        std = scale * math.sqrt(gain / module.weight[0].numel())
        module.weight.copy_(torch.empty(module.weight.shape).normal_(std=std, generator=generator))
        if module.bias is not None:
            module.bias.zero_()
