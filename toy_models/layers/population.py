"""BatchNorm's statistics taken from all inputs at once instead of a running average that lags behind the weights."""

import copy
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from toy_models.errors import InputError

Model = TypeVar("Model", bound=nn.Module)


def with_population_statistics(model: Model, inputs: Float[Tensor, "n *rest"]) -> Model:
    """A copy in evaluation mode whose BatchNorms hold mean and variance (n - 1) of `inputs`, each after the last.

    One run in training mode of all inputs as one batch (Ioffe and Szegedy 2015, algorithm 2, which takes minibatches).
    Models without BatchNorm are copied as they are. Raises `InputError` for fewer than two inputs.
    """
    if len(inputs) < 2:
        raise InputError(f"a variance needs two inputs or more, got {len(inputs)}")
    made = copy.deepcopy(model)
    norms = [module for module in made.modules() if isinstance(module, _BatchNorm)]
    if norms:
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.momentum = 1.0
        with torch.no_grad():
            made.train()(inputs)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    return made.eval()
