"""The rivals of the benchmark make the same updates: they end with the same weights."""

from dataclasses import replace

import pytest
import torch

from analyses.benchmarks.image_training import CASES, by_hand, new_model, time_case
from toy_models.image_config import ResNetConfig
from toy_models.training import train_model
from toy_models.training.objectives import objective_of


@pytest.mark.parametrize("name", ["MLP", "superposition", "ResNet-8"])
@pytest.mark.parametrize("fused", [None, True])
def test_the_loop_by_hand_ends_with_our_weights(name, fused):
    config = CASES[name]
    config = replace(config, train=replace(config.train, steps=4, batch_size=32))
    if isinstance(config.model, ResNetConfig):
        config = replace(config, model=replace(config.model, widths=(2, 3, 4)))
    objective = objective_of(config)
    ours, theirs = new_model(config), by_hand(config, objective, fused)
    start = {key: tensor.clone() for key, tensor in ours.state_dict().items()}
    train_model(ours, objective, config.train)
    for key, tensor in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[key], tensor, rtol=1e-4, atol=1e-5)
        assert not torch.equal(tensor, start[key])


def test_every_rival_is_timed():
    config = replace(CASES["MLP"], train=replace(CASES["MLP"].train, steps=2))
    timed = time_case(config, rounds=2)
    assert set(timed) == {"ours", "by hand", "fused"}
    assert all(timing.rounds == 2 and timing.fastest > 0 for timing in timed.values())
