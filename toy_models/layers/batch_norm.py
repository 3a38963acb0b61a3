"""BatchNorm in plain operations, with its mean, variance and normalised value in the open (Ioffe and Szegedy 2015)."""

from itertools import chain

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from toy_models.errors import InputError
from toy_models.hook_point import HookPoint


class BatchNorm(_BatchNorm):
    """y = weight * (x - mean) / sqrt(var + eps) + bias, unit by unit; weight is the paper's gamma, bias its beta.

    `axes` name the input's dimensions, "batch unit" or "batch unit y x". In training mode, mean and variance are those
    of the batch (over all axes but the unit's; the variance divides by n), and the running ones move towards them by
    `momentum` (the variance that divides by n - 1); in evaluation mode the running ones are used. Parameters, buffers
    and values are those of torch.nn.BatchNorm1d and 2d, whose fused kernel runs while nobody watches the inside.

    Raises `InputError` for another number of axes or units, and in training mode for a single value per unit, whose
    variance is no statistic.
    """

    def __init__(self, units: int, axes: str, eps: float = 1e-5, momentum: float = 0.1):
        super().__init__(units, eps=eps, momentum=momentum)
        self.hook_mean, self.hook_var = HookPoint("unit"), HookPoint("unit")
        self.hook_normalized = HookPoint(axes)

    def forward(self, x: Float[Tensor, "batch unit *space"]) -> Float[Tensor, "batch unit *space"]:
        if not any(point.watched for point in (self.hook_mean, self.hook_var, self.hook_normalized)):
            return super().forward(x)
        self._check_input_dim(x)
        mean, var = self.batch_statistics(x) if self.training else self.running_statistics()
        mean, var = self.hook_mean(mean), self.hook_var(var)
        x = self.hook_normalized((x - self._spread(mean, x)) / self._spread(var + self.eps, x).sqrt())
        return x * self._spread(self.weight, x) + self._spread(self.bias, x)

    def batch_statistics(self, x: Tensor) -> tuple[Float[Tensor, " unit"], Float[Tensor, " unit"]]:
        """Mean and variance of the batch; the running ones move towards them."""
        over = [axis for axis in range(x.ndim) if axis != 1]
        mean, var = x.mean(over), x.var(over, correction=0)
        n = x.numel() // x.shape[1]
        with torch.no_grad():
            mean_so_far, var_so_far = self.running_statistics()
            share = self.momentum or 0.0
            mean_so_far.lerp_(mean, share)
            var_so_far.lerp_(var * n / (n - 1), share)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        return mean, var

    def running_statistics(self) -> tuple[Float[Tensor, " unit"], Float[Tensor, " unit"]]:
        """Mean and variance for evaluation mode."""
        assert self.running_mean is not None
        assert self.running_var is not None
        return self.running_mean, self.running_var

    def _check_input_dim(self, input: Tensor) -> None:
        axes = self.hook_normalized.axes
        if input.ndim != len(axes) or input.shape[1] != self.num_features:
            raise InputError(
                f"BatchNorm of {self.num_features} units reads [{' '.join(axes)}], got a tensor of {list(input.shape)}"
            )
        if self.training and input.numel() == input.shape[1]:
            raise InputError(
                "BatchNorm in training mode needs more than one value for each unit, got one: "
                "use a larger batch, or model.eval()"
            )

    @staticmethod
    def _spread(value: Tensor, x: Tensor) -> Tensor:
        return value.view(tuple(chain((1, -1), (1 for _ in x.shape[2:]))))
