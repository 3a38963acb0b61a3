"""What a model costs: the numbers that its linear maps learn, and the products that one input takes."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from interp.errors import InputError
from interp.hooks.untouched import tensors_of, untouched


@dataclass(frozen=True)
class ModelCost:
    """Counts by linear map or convolution, in the order in which they run; exact, so there is no interval."""

    names: tuple[str, ...]
    weights: tuple[int, ...]
    """Without biases."""
    multiply_adds: tuple[int, ...]
    """For one input. The FLOPs of papers on image models are these; counting both operations gives twice as many."""
    parameters: int
    """Of the whole model, with biases and normalisation."""

    @property
    def total_multiply_adds(self) -> int:
        return sum(self.multiply_adds)

    def to_dict(self) -> dict[str, Any]:
        return vars(self) | {"total_multiply_adds": self.total_multiply_adds}


def model_cost(model: nn.Module, inputs: Shaped[Tensor, "batch *rest"]) -> ModelCost:
    """Weights, and products per input, of every torch.nn.Linear and Conv2d that runs, called on its own or often.

    A convolution multiplies each of its weights once for every pixel that it gives out, a linear map each of its own
    once for every vector. Normalisation, activations, pooling and additions are left out, as papers do. The model is
    left as it was. Raises `InputError` for no inputs, or a model that runs no such map.
    """
    if len(inputs) < 1:
        raise InputError("products are counted on a run: give at least one input, got none")
    counted: dict[str, tuple[int, int]] = {}
    names = {id(module): name for name, module in model.named_modules()}
    maps = [module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)]

    def count(module: nn.Module, _: Any, output: Tensor) -> None:
        weights = sum(p.numel() for name, p in module.named_parameters() if name != "bias")
        units = output.shape[1] if isinstance(module, nn.Conv2d) else output.shape[-1]
        places = output.numel() // units // len(inputs)
        before = counted.get(names[id(module)], (0, 0))[1]
        counted[names[id(module)]] = (weights, before + weights * places)

    handles = [module.register_forward_hook(count) for module in maps]
    try:
        with torch.no_grad(), untouched(tensors_of(model)):
            model(inputs)
    finally:
        for handle in handles:
            handle.remove()
    if not counted:
        raise InputError("the model runs no torch.nn.Linear and no torch.nn.Conv2d: there is nothing to count")
    parameters = sum(p.numel() for p in model.parameters())
    weights, products = zip(*counted.values(), strict=True)
    return ModelCost(tuple(counted), weights, products, parameters)
