"""LayerNorm in plain operations, with its mean, variance and normalised value in the open (Ba et al. 2016)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from toy_models.errors import InputError
from toy_models.hook_point import HookPoint


class LayerNorm(nn.Module):
    """y = weight * (x - mean) / sqrt(var + eps) + bias, with mean and variance over everything in one example.

    `axes` name the input's dimensions, "batch unit" (then equal to torch.nn.LayerNorm) or "batch unit y x" (equal to
    torch.nn.GroupNorm with one group); weight and bias have an entry for each unit. The fused kernel runs while
    nobody watches the inside. Raises `InputError` for another number of axes or units.
    """

    def __init__(self, units: int, axes: str, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.weight, self.bias = nn.Parameter(torch.ones(units)), nn.Parameter(torch.zeros(units))
        self.hook_mean, self.hook_var = HookPoint("batch"), HookPoint("batch")
        self.hook_normalized = HookPoint(axes)

    def forward(self, x: Float[Tensor, "batch unit *space"]) -> Float[Tensor, "batch unit *space"]:
        axes = self.hook_normalized.axes
        if x.ndim != len(axes) or x.shape[1] != len(self.weight):
            raise InputError(
                f"LayerNorm of {len(self.weight)} units reads [{' '.join(axes)}], got a tensor of {list(x.shape)}"
            )
        if not any(point.watched for point in (self.hook_mean, self.hook_var, self.hook_normalized)):
            return F.group_norm(x, 1, self.weight, self.bias, self.eps)
        over = tuple(range(1, x.ndim))
        mean, var = self.hook_mean(x.mean(over)), self.hook_var(x.var(over, correction=0))
        each, units = (-1, *(1 for _ in over)), (1, -1, *(1 for _ in over[1:]))
        x = self.hook_normalized((x - mean.view(each)) / (var + self.eps).sqrt().view(each))
        return x * self.weight.view(units) + self.bias.view(units)
