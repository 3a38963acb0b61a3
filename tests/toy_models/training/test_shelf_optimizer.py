"""Each optimiser against its published recurrence, written out in float64."""

import math

import pytest
import torch
from torch import nn

from toy_models.shelf_config import ShelfTrainConfig
from toy_models.training.shelf_optimizer import DecoupledSGD, make_shelf_optimizer

STEPS, RATE, DECAY = 6, 0.1, 0.3


class Two(nn.Module):
    """A matrix, which decays, and a bias, which does not unless asked for."""

    def __init__(self):
        super().__init__()
        drawn = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(3, 2, generator=drawn, dtype=torch.float64))
        self.bias = nn.Parameter(torch.randn(3, generator=drawn, dtype=torch.float64))


def gradients(step: int) -> dict[str, torch.Tensor]:
    drawn = torch.Generator().manual_seed(10 + step)
    return {
        "weight": torch.randn(3, 2, generator=drawn, dtype=torch.float64),
        "bias": torch.randn(3, generator=drawn, dtype=torch.float64),
    }


def trained(**options) -> dict[str, torch.Tensor]:
    model = Two()
    optimizer = make_shelf_optimizer(model, ShelfTrainConfig(learning_rate=RATE, weight_decay=DECAY, **options))
    for step in range(STEPS):
        for name, gradient in gradients(step).items():
            getattr(model, name).grad = gradient
        optimizer.step()
    return {name: p.detach() for name, p in model.named_parameters()}


def written_out(update, decoupled, decays) -> dict[str, torch.Tensor]:
    """`update(gradient, memory)` gives the direction of a step; decay is L2 or decoupled."""
    weights = {name: p.detach().clone() for name, p in Two().named_parameters()}
    memories: dict[str, dict] = {name: {"t": 0} for name in weights}
    for step in range(STEPS):
        for name, gradient in gradients(step).items():
            decay = DECAY if name in decays else 0.0
            w = weights[name]
            g = gradient if decoupled else gradient + decay * w
            memories[name]["t"] += 1
            direction = update(g, memories[name])
            weights[name] = (w * (1 - RATE * decay) if decoupled else w) - RATE * direction
    return weights


def heavy_ball(g, memory):
    memory["v"] = g if "v" not in memory else 0.9 * memory["v"] + g
    return memory["v"]


def nesterov(g, memory):
    return g + 0.9 * heavy_ball(g, memory)


def plain(g, memory):
    return g


def adam(g, memory):
    m = memory["m"] = 0.9 * memory.get("m", 0) + 0.1 * g
    v = memory["v"] = 0.99 * memory.get("v", 0) + 0.01 * g**2
    return m / (1 - 0.9 ** memory["t"]) / ((v / (1 - 0.99 ** memory["t"])).sqrt() + 1e-8)


@pytest.mark.parametrize("decoupled", [True, False])
@pytest.mark.parametrize("decay_all", [True, False])
@pytest.mark.parametrize(
    ("update", "options"),
    [
        (heavy_ball, {"optimizer": "sgd"}),
        (nesterov, {"optimizer": "sgd", "nesterov": True}),
        (plain, {"optimizer": "sgd", "momentum": 0.0}),
        (adam, {"optimizer": "adam", "beta2": 0.99}),
    ],
)
def test_steps_are_those_of_the_formula(update, options, decoupled, decay_all):
    found = trained(**options, decoupled=decoupled, decay_all=decay_all)
    expected = written_out(update, decoupled, {"weight", "bias"} if decay_all else {"weight"})
    for name, weights in expected.items():
        torch.testing.assert_close(found[name], weights, rtol=1e-12, atol=1e-12)


def test_decoupled_decay_and_l2_are_the_same_without_momentum_and_not_with_it():
    def apart(momentum):
        pair = [trained(optimizer="sgd", momentum=momentum, decoupled=d)["weight"] for d in (True, False)]
        return (pair[0] - pair[1]).abs().max().item()

    assert apart(0.0) < 1e-14
    assert apart(0.9) > 0.01


def test_the_decay_of_a_group_is_there_again_after_a_step_that_fails():
    model = Two()
    optimizer = DecoupledSGD([model.weight], lr=RATE, weight_decay=DECAY)
    model.weight.grad = torch.ones(3, 2, dtype=torch.float64)
    with pytest.raises(ZeroDivisionError):
        optimizer.step(lambda: math.floor(1 / 0))
    assert optimizer.param_groups[0]["weight_decay"] == DECAY
