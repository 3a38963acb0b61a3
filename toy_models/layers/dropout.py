"""Dropout with its mask in the open (Srivastava et al. 2014), scaled while training."""

import torch
from torch import Tensor, nn

from toy_models.errors import InputError
from toy_models.hook_point import HookPoint


class Dropout(nn.Module):
    """x * mask in training mode, mask = 0 with probability `rate`, else 1 / (1 - rate); x in evaluation mode.

    The mask, on `hook_mask`, is drawn from torch's default generator on the CPU and moved, so that it is the same on
    every device. Raises `InputError` for a rate outside [0, 1).
    """

    def __init__(self, rate: float, axes: str):
        super().__init__()
        if not 0 <= rate < 1:
            raise InputError(f"a dropout rate must be 0 or above and below 1, got {rate}")
        self.rate = rate
        self.hook_mask = HookPoint(axes)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        kept = torch.rand(x.shape) >= self.rate
        return x * self.hook_mask(kept.to(x) / (1 - self.rate))

    def extra_repr(self) -> str:
        return f"rate={self.rate}"
