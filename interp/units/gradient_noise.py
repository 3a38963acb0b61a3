"""How the gradient of a minibatch scatters about the gradient of all data, and whether it is off on average."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from interp.errors import InputError
from interp.hooks.untouched import tensors_of, untouched
from interp.stats import Estimate, student_t_interval
from interp.units.gradients import Loss


@dataclass(frozen=True, eq=False)
class GradientNoise:
    """Of the gradients of many minibatches: what they scatter by, and where their mean lies.

    `bias_z` is what |mean - full|² exceeds its expectation without bias, tr(S) / n, by, in its standard deviations,
    sqrt(2 tr S²) / n (normal means): 0 within a few without bias, large and positive with it. It needs minibatches that
    are independent draws: those of a partition of the data have the full gradient as their mean whatever they are.
    """

    total_variance: float
    """tr S: the variances of all entries, added."""
    bias_z: float
    cosine: Estimate
    """Of a minibatch's gradient and the full one."""
    n: int

    def to_dict(self) -> dict[str, Any]:
        return {
            "total_variance": self.total_variance,
            "bias_z": self.bias_z,
            "cosine": self.cosine.to_dict(),
            "minibatches": self.n,
        }


def flat_gradient(
    model: nn.Module, inputs: Shaped[Tensor, "n *rest"], targets: Shaped[Tensor, "n *more"], loss: Loss
) -> Float[Tensor, " parameter"]:
    """d loss / d every parameter, in the order of the model, end to end; 0 for parameters that the loss does not use.

    Neither gradients that the parameters hold, nor buffers, nor torch's random state change.
    """
    with untouched(tensors_of(model)):
        return _flat_gradient(model, inputs, targets, loss)


def minibatch_gradients(
    model: nn.Module,
    inputs: Shaped[Tensor, "n *rest"],
    targets: Shaped[Tensor, "n *more"],
    loss: Loss,
    indices: Int[Tensor, "draw batch"],
) -> Float[Tensor, "draw parameter"]:
    """The `flat_gradient` of each minibatch, given by its inputs' numbers; the model is run in the mode it is in."""
    if not 0 <= int(indices.min()) <= int(indices.max()) < len(inputs):
        raise InputError(f"minibatches are made of inputs 0 to {len(inputs) - 1}, got {int(indices.max())}")
    with untouched(tensors_of(model)):
        return torch.stack([_flat_gradient(model, inputs[each], targets[each], loss) for each in indices])


def gradient_noise(
    gradients: Float[Tensor, "draw parameter"], full: Float[Tensor, " parameter"], level: float = 0.95
) -> GradientNoise:
    """Total variance, bias and direction of minibatch gradients about the full one (both from a loss that averages).

    Minibatches of b inputs drawn with replacement have S = S_1 / b. Raises `InputError` for fewer than three of them,
    values that are not finite, or gradients that are all equal.
    """
    n = len(gradients)
    if n < 3:
        raise InputError(f"the scatter of gradients needs three minibatches, got {n}")
    if not bool(gradients.isfinite().all()) or not bool(full.isfinite().all()):
        raise InputError("gradients must be finite, got NaN or infinity")
    x = gradients.double()
    centred = x - x.mean(0)
    trace = float(centred.square().sum() / (n - 1))
    if trace == 0:
        raise InputError(f"all {n} gradients are equal: nothing scatters")
    missed = float((x.mean(0) - full.double()).square().sum())
    cosine = torch.nn.functional.cosine_similarity(x, full.double()[None], dim=1)
    spread = (2 * _trace_of_square(centred, trace)) ** 0.5
    return GradientNoise(trace, (n * missed - trace) / spread, student_t_interval(cosine, level), n)


def _trace_of_square(centred: Tensor, trace: float) -> float:
    """tr S² without the bias of the sample covariance; at least tr(S)² / n, what a sample of n can show."""
    n = len(centred)
    squared = float((centred @ centred.T).square().sum()) / (n - 1) ** 2
    unbiased = (n - 1) ** 2 / ((n - 2) * (n + 1)) * (squared - trace**2 / (n - 1))
    return max(unbiased, trace**2 / n)


def _flat_gradient(model: nn.Module, inputs: Tensor, targets: Tensor, loss: Loss) -> Tensor:
    parameters = [p for p in model.parameters() if p.requires_grad]
    with torch.enable_grad():
        found = torch.autograd.grad(loss(model(inputs), targets), parameters, allow_unused=True)
    parts = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]
    return torch.cat([part.flatten() for part in parts])
