"""`python -m analyses.benchmarks.image_training`: `train_model` beside a loop written by hand for the same model.

Both make the same updates with the same batches. The hand-written loop measures nothing; ours writes a line of metrics
each tenth step, and measures held-out examples before the first and after the last one.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import nn

from analyses.benchmarks.timing import Timing, ratio, take_turns
from toy_models.image_config import ConvNetConfig, ResNetConfig
from toy_models.shelf_config import ShelfRunConfig, ShelfTrainConfig
from toy_models.shelf_data_config import DigitsConfig, FeaturesConfig
from toy_models.shelf_models import make_shelf_model
from toy_models.training import train_model
from toy_models.training.objectives import Objective, objective_of
from toy_models.training.seeds import generator_for
from toy_models.vector_config import DropoutAutoencoderConfig, MLPConfig, SuperpositionConfig

SGD = ShelfTrainConfig(optimizer="sgd", learning_rate=0.1)
CASES = {
    "ConvNet": ShelfRunConfig(ConvNetConfig(), train=ShelfTrainConfig(steps=100)),
    "ResNet-8": ShelfRunConfig(ResNetConfig(depth=8, widths=(8, 16, 32)), train=replace(SGD, steps=60)),
    "ResNet-20": ShelfRunConfig(ResNetConfig(depth=20), train=replace(SGD, steps=90)),
    "MLP": ShelfRunConfig(MLPConfig(), train=ShelfTrainConfig(steps=300)),
    "MLP, dropout": ShelfRunConfig(MLPConfig(dropout=0.5), train=ShelfTrainConfig(steps=300)),
    "dropout autoencoder": ShelfRunConfig(DropoutAutoencoderConfig(), train=ShelfTrainConfig(steps=300)),
    "superposition": ShelfRunConfig(
        SuperpositionConfig(), FeaturesConfig(), ShelfTrainConfig(steps=1000, batch_size=256)
    ),
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5, help="rounds in which the rivals take turns")
    rounds = options.parse_args().rounds
    torch.set_num_threads(1)
    print("A training step, batch 64 (superposition 256), metrics included (CPU ms)")
    print(f"{'':>20}{'ours':>8}{'by hand':>9}{'fused':>8}{'ours/by hand':>14}{'ours/fused':>12}")
    for name, config in CASES.items():
        timed = time_case(config, rounds)
        per_step = {rival: timing.median / config.train.steps * 1e3 for rival, timing in timed.items()}
        print(
            f"{name:>20}{per_step['ours']:>8.2f}{per_step['by hand']:>9.2f}{per_step['fused']:>8.2f}"
            f"{ratio(timed, 'ours', 'by hand'):>13.2f}x{ratio(timed, 'ours', 'fused'):>11.2f}x"
        )


def time_case(config: ShelfRunConfig, rounds: int) -> dict[str, Timing]:
    """Whole trainings of one model, each from new weights; "by hand" with the optimiser's default implementation."""
    objective = objective_of(config)
    quiet = replace(config.train, eval_every=config.train.steps)
    rivals: dict[str, Callable[[], object]] = {
        "ours": lambda: train_model(new_model(config), objective, quiet),
        "by hand": partial(by_hand, config, objective, fused=None),
        "fused": partial(by_hand, config, objective, fused=True),
    }
    return take_turns(rivals, rounds, calls=1, warm_up=1)


def new_model(config: ShelfRunConfig) -> nn.Module:
    return make_shelf_model(config.model, generator_for(config.train.seed, "weights"))


def by_hand(config: ShelfRunConfig, objective: Objective, fused: bool | None) -> nn.Module:
    """The loop that somebody would write for one model; without dropout it ends with our weights."""
    model, train = new_model(config).train(), config.train
    batch_of = batches(config, objective)
    optimizer = optimizer_of(model, train, fused)
    for step in range(train.steps):
        inputs, targets = batch_of(step)
        loss = objective.loss(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def optimizer_of(model: nn.Module, train: ShelfTrainConfig, fused: bool | None) -> torch.optim.Optimizer:
    if train.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), lr=train.learning_rate, momentum=train.momentum, fused=fused)
    betas = (train.beta1, train.beta2)
    return torch.optim.AdamW(model.parameters(), train.learning_rate, betas, weight_decay=0.0, fused=fused)


def batches(config: ShelfRunConfig, objective: Objective) -> Callable[[int], tuple[torch.Tensor, torch.Tensor]]:
    """Batches by step: of shuffled examples, or features drawn anew."""
    size, seed = config.train.batch_size, config.train.seed
    if not isinstance(config.data, DigitsConfig):
        source = objective.source(size, seed, torch.device("cpu"))
        return lambda step: (source.draw(step).inputs,) * 2
    inputs, targets = objective.examples("training").inputs, objective.examples("training").targets
    per_epoch, order = len(inputs) // size, torch.empty(0)

    def draw(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        nonlocal order
        epoch, place = divmod(step, per_epoch)
        if not place:
            order = torch.randperm(len(inputs), generator=generator_for(seed, f"order of epoch {epoch}"))
        index = order[place * size :][:size]
        return inputs[index], targets[index]

    return draw


if __name__ == "__main__":
    main()
