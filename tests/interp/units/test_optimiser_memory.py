"""Numbers that optimisers keep, counted on a model whose parameters are counted by hand."""

import pytest
import torch
from torch import nn

from interp.units import optimiser_memory

N = 3 * 4 + 4


def after_a_step(make):
    model = nn.Linear(3, 4)
    optimizer = make(model.parameters())
    model(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    return optimizer


@pytest.mark.parametrize(
    ("make", "state", "other"),
    [
        (lambda p: torch.optim.SGD(p, 0.1), 0, 0),
        (lambda p: torch.optim.SGD(p, 0.1, momentum=0.9), N, 0),
        (lambda p: torch.optim.Adam(p, 0.1), 2 * N, 2),
        (lambda p: torch.optim.RMSprop(p, 0.1), N, 2),
    ],
    ids=["sgd", "momentum", "adam", "rmsprop"],
)
def test_an_optimiser_keeps_its_gradients_and_its_state(make, state, other):
    found = optimiser_memory(after_a_step(make))
    assert (found.parameters, found.gradients, found.state, found.other) == (N, N, state, other)
    assert found.bytes == 4 * (N + state + other)
    assert found.per_parameter == 1 + state / N


def test_before_a_step_and_without_gradients_nothing_is_kept():
    optimizer = after_a_step(lambda p: torch.optim.Adam(p, 0.1))
    optimizer.zero_grad()
    assert optimiser_memory(optimizer).gradients == 0
    assert optimiser_memory(torch.optim.Adam(nn.Linear(3, 4).parameters())).to_dict() == {
        "parameters": N, "gradients": 0, "state": 0, "other": 0, "bytes": 0, "per_parameter": 0.0,
    }  # fmt: skip
