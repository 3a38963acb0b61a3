"""What an optimiser keeps beside the parameters: gradients, and numbers of its own."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class OptimiserMemory:
    """Counts of numbers, and bytes. `state` are buffers in the shape of a parameter, `other` the rest (step counts)."""

    parameters: int
    gradients: int
    state: int
    other: int
    bytes: int
    """Of gradients, state and other together."""

    @property
    def per_parameter(self) -> float:
        """Numbers kept for each parameter, beside the parameter: 1 for SGD, 2 with momentum, 3 for Adam."""
        return (self.gradients + self.state) / self.parameters

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"per_parameter": self.per_parameter}


def optimiser_memory(optimizer: torch.optim.Optimizer) -> OptimiserMemory:
    """Counted from the tensors that the optimiser holds now: take a step first, most make their state then."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    gradients = [p.grad for p in parameters if p.grad is not None]
    state, other = [], []
    for parameter in parameters:
        held = [value for value in optimizer.state.get(parameter, {}).values() if isinstance(value, Tensor)]
        state += [value for value in held if value.shape == parameter.shape]
        other += [value for value in held if value.shape != parameter.shape]
    kept = sum(t.numel() * t.element_size() for t in (*gradients, *state, *other))
    return OptimiserMemory(_numbers(parameters), _numbers(gradients), _numbers(state), _numbers(other), kept)


def _numbers(tensors: list[Tensor]) -> int:
    return sum(t.numel() for t in tensors)
