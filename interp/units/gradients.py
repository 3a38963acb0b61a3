"""How large the gradient is that reaches each layer's weights."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from interp.errors import InputError
from interp.hooks.untouched import tensors_of, untouched
from interp.stats import Estimate, Estimates, student_t_interval, student_t_intervals

Loss = Callable[[Any, Tensor], Tensor]
"""(output, targets) -> a scalar."""


@dataclass(frozen=True, eq=False)
class GradientNorms:
    """Euclidean norms of the loss's gradient, module by module in the order of the model, over minibatches.

    `relative` divides by the norm of the weights themselves; modules whose weights are all 0 have NaN there. The
    baseline is the model at initialisation, or one that differs in what is asked about: measure it the same way.
    """

    names: tuple[str, ...]
    norms: Estimates
    """[module]"""
    relative: Estimates
    """[module]"""
    first_to_last: Estimate
    """Norm of the first module over that of the last, minibatch by minibatch."""
    batch_size: int

    def to_dict(self) -> dict[str, Any]:
        return {
            "modules": list(self.names),
            "norm": self.norms.to_dict(),
            "relative": self.relative.to_dict(),
            "first_to_last": self.first_to_last.to_dict(),
            "batch_size": self.batch_size,
        }


def gradient_norms(
    model: nn.Module,
    inputs: Shaped[Tensor, "n *rest"],
    targets: Shaped[Tensor, "m *more"],
    loss: Loss,
    *,
    batch_size: int = 64,
    level: float = 0.95,
) -> GradientNorms:
    """|| d loss / d weights || of every module that has weights of two or more dimensions (matrices, filters).

    The model is run as it is, in training or evaluation mode, on whole minibatches of `batch_size`; intervals are
    Student's t over minibatches. Neither gradients that the parameters hold, nor buffers, nor torch's random state
    change. Raises `InputError` for fewer than two minibatches, inputs and targets of different numbers, a model
    without such weights, and gradients that are not finite.
    """
    if len(inputs) != len(targets):
        raise InputError(f"inputs and targets must be as many, got {len(inputs)} and {len(targets)}")
    n_batches = len(inputs) // batch_size if batch_size > 0 else 0
    if n_batches < 2:
        raise InputError(f"an interval needs two minibatches of {batch_size}, got {len(inputs)} inputs")
    owned = _weights_by_module(model)
    if not owned:
        raise InputError("the model has no weights of two or more dimensions")
    rows = []
    with untouched(tensors_of(model)), torch.enable_grad():
        for start in range(0, n_batches * batch_size, batch_size):
            part = slice(start, start + batch_size)
            rows.append(_norms(owned, loss(model(inputs[part]), targets[part])))
    norms = torch.stack(rows)
    if not bool(norms.isfinite().all()):
        raise InputError(f"gradients of {list(owned)[int((~norms.isfinite()).any(0).nonzero()[0])]} are not finite")
    sizes = torch.stack([_norm([p.detach() for p in weights]) for weights in owned.values()])
    ratio = norms[:, 0] / norms[:, -1]
    return GradientNorms(
        tuple(owned),
        student_t_intervals(norms, level),
        _divided(student_t_intervals(norms, level), sizes),
        student_t_interval(ratio, level) if bool(ratio.isfinite().all()) else _undefined(n_batches, level),
        batch_size,
    )


def _weights_by_module(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    found: dict[str, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.ndim >= 2 and parameter.requires_grad:
            found.setdefault(name.rpartition(".")[0] or name, []).append(parameter)
    return found


def _norms(owned: dict[str, list[nn.Parameter]], loss: Tensor) -> Tensor:
    flat = [parameter for weights in owned.values() for parameter in weights]
    gradients = dict(zip(map(id, flat), torch.autograd.grad(loss, flat, allow_unused=True), strict=True))
    found = [[gradients[id(p)] for p in weights] for weights in owned.values()]
    return torch.stack([_norm([g for g in each if g is not None]) for each in found])


def _norm(tensors: list[Tensor]) -> Tensor:
    return sum((t.double().square().sum().cpu() for t in tensors), torch.zeros((), dtype=torch.float64)).sqrt()


def _divided(estimates: Estimates, by: Tensor) -> Estimates:
    mean, low, high = (getattr(estimates, name) / by for name in ("mean", "low", "high"))
    return Estimates(mean, low, high, estimates.n, estimates.level, estimates.method)


def _undefined(n: int, level: float) -> Estimate:
    nothing = float("nan")
    return Estimate(nothing, nothing, nothing, n, level, "undefined: the last module has no gradient")
