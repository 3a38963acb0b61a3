"""AdamW, decaying matrices only, and its state as named tensors."""

import torch
from torch import Tensor, nn

from toy_models import qkv
from toy_models.errors import InputError
from toy_models.train_config import TrainConfig


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """Fused AdamW (Loshchilov and Hutter 2019); weight decay on parameters whose last name begins with W_."""
    named = list(model.named_parameters())
    matrices = [p for name, p in named if is_matrix(name)]
    others = [p for name, p in named if not is_matrix(name)]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}]
    if others:
        groups.append({"params": others, "weight_decay": 0.0})
    betas = (config.beta1, config.beta2)
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=betas, fused=True)


def is_matrix(name: str) -> bool:
    """Whether a parameter is a weight matrix, and so decays."""
    return name.rsplit(".", 1)[-1].startswith("W_")


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Everything an optimiser remembers, as "exp_avg/blocks.0.attn.W_Q" and so on: by the names of the state dict."""
    return qkv.split(
        {
            f"{kind}/{name}": value
            for name, parameter in model.named_parameters()
            for kind, value in optimizer.state.get(parameter, {}).items()
            if value is not None
        }
    )


def restore_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Gives an optimiser back what `optimizer_tensors` read from it; `InputError` if it is of another model."""
    parameters = dict(model.named_parameters())
    for full_name, tensor in qkv.join(tensors).items():
        kind, _, name = full_name.partition("/")
        if name not in parameters:
            raise InputError(f"the optimiser's state is of another model: there is no parameter {name!r}")
        parameter = parameters[name]
        if kind != "step" and tensor.shape != parameter.shape:
            raise InputError(f"{full_name} has shape {list(tensor.shape)}, expected {list(parameter.shape)}")
        optimizer.state[parameter][kind] = tensor.to(parameter.device, copy=True)
