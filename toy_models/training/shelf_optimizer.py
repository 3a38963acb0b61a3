"""PyTorch's optimisers as a `ShelfTrainConfig` asks for them: SGD or Adam, weight decay decoupled or L2."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from toy_models.errors import InputError
from toy_models.shelf_config import ShelfTrainConfig


def make_shelf_optimizer(model: nn.Module, config: ShelfTrainConfig) -> torch.optim.Optimizer:
    """The optimiser of the parameters that need gradients; one-axis parameters decay only with `decay_all`.

    Adam with decoupled decay is torch.optim.AdamW, with L2 torch.optim.Adam; SGD with L2 is torch.optim.SGD, decoupled
    `DecoupledSGD`. Raises `InputError` for a model without such parameters.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        raise InputError("the model has no parameters that need gradients, so nothing can be trained")
    groups = groups_of(trained, config)
    if config.optimizer == "adam":
        adam = torch.optim.AdamW if config.decoupled else torch.optim.Adam
        return adam(groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), fused=True)
    sgd = DecoupledSGD if config.decoupled and config.weight_decay else torch.optim.SGD
    return sgd(groups, lr=config.learning_rate, momentum=config.momentum, nesterov=config.nesterov, fused=True)


def groups_of(parameters: list[nn.Parameter], config: ShelfTrainConfig) -> list[dict[str, Any]]:
    """Those that decay, and the others; one group where all are treated alike, which is quicker."""
    if config.decay_all or not config.weight_decay:
        return [{"params": parameters, "weight_decay": config.weight_decay}]
    decaying = [p for p in parameters if p.ndim > 1]
    others = [p for p in parameters if p.ndim <= 1]
    pairs = ((decaying, config.weight_decay), (others, 0.0))
    return [{"params": params, "weight_decay": decay} for params, decay in pairs if params]


class DecoupledSGD(torch.optim.SGD):
    """SGD that shrinks weights beside its step, w <- (1 - rate decay) w - rate v (Loshchilov and Hutter 2019, SGDW).

    Without momentum it is SGD with L2; with momentum it is not, for L2 goes through the velocity.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        decays = [group["weight_decay"] for group in self.param_groups]
        for group in self.param_groups:
            if group["weight_decay"]:
                torch._foreach_mul_(
                    [p for p in group["params"] if p.grad is not None], 1 - group["lr"] * group["weight_decay"]
                )
                group["weight_decay"] = 0.0
        try:
            return super().step(closure)
        finally:
            for group, decay in zip(self.param_groups, decays, strict=True):
                group["weight_decay"] = decay
