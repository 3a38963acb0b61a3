"""How sharply the loss bends where the model stands: the largest eigenvalue of its Hessian."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from interp.errors import InputError
from interp.hooks.untouched import tensors_of, untouched
from interp.units.gradients import Loss


@dataclass(frozen=True)
class Sharpness:
    """The Hessian's eigenvalue of largest size, and |H v - value v|: some eigenvalue lies that near to `value`."""

    value: float
    residual: float
    steps: int

    def to_dict(self) -> dict[str, Any]:
        return {"value": self.value, "residual": self.residual, "steps": self.steps}


def sharpness(
    model: nn.Module,
    inputs: Shaped[Tensor, "n *rest"],
    targets: Shaped[Tensor, "n *more"],
    loss: Loss,
    generator: torch.Generator,
    *,
    steps: int = 100,
    tolerance: float = 1e-3,
) -> Sharpness:
    """Largest eigenvalue of d² loss / d parameters², by power iteration with Hessian-vector products.

    Stops when the residual is `tolerance` times the value, or after `steps` products. The model is run in the mode it
    is in; neither gradients, buffers nor torch's random state change. (Keskar et al. 2017, arXiv:1609.04836, look at
    the largest loss in a box around it instead.) It changes under rescalings of the weights that leave the function as
    it is (Dinh et al. 2017, arXiv:1703.04933): compare nets that were initialised alike. Raises `InputError` for
    `steps` below 1, and where the gradient does not depend on the parameters.
    """
    if steps < 1:
        raise InputError(f"power iteration needs at least one step, got {steps}")
    parameters = [p for p in model.parameters() if p.requires_grad]
    vector = [torch.randn(p.shape, generator=generator).to(p) for p in parameters]
    with untouched(tensors_of(model)), torch.enable_grad():
        gradient = torch.autograd.grad(loss(model(inputs), targets), parameters, create_graph=True)
        if not any(g.requires_grad for g in gradient):
            raise InputError("the gradient does not depend on the parameters: this loss has no curvature")
        value, residual, step = 0.0, math.inf, 0
        while step < steps and residual > tolerance * abs(value):
            size = _size(vector)
            unit = [v / size for v in vector]
            vector, step = _product(gradient, parameters, unit), step + 1
            value = float(sum((v * p).sum() for v, p in zip(unit, vector, strict=True)))
            residual = _size([p - value * v for v, p in zip(unit, vector, strict=True)])
    return Sharpness(value, residual, step)


def _product(gradient: tuple[Tensor, ...], parameters: list[nn.Parameter], vector: list[Tensor]) -> list[Tensor]:
    along = torch.stack([(g * v).sum() for g, v in zip(gradient, vector, strict=True)]).sum()
    found = torch.autograd.grad(along, parameters, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(p) if f is None else f for p, f in zip(parameters, found, strict=True)]


def _size(tensors: list[Tensor]) -> float:
    return float(torch.stack([t.double().square().sum() for t in tensors]).sum().sqrt())
