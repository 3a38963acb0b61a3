"""The net of a run folder: its model, the same net untrained, and the examples of its run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from analyses.arguments import OnRun
from analyses.output import check_folder
from analyses.units.net import Examples, Net, settled
from toy_models.config import to_dict
from toy_models.device import find_device
from toy_models.shelf_data_config import FeaturesConfig
from toy_models.training.objectives import Objective, split_images
from toy_models.training.shelf_run import ShelfRun, load_shelf_run

DRAWN = 1024
"""Training examples, where each batch is drawn anew."""


def load_net(arguments: OnRun) -> tuple[Net, Path]:
    """The net of a run or checkpoint folder, to be measured on the examples asked for, and the folder for results.

    Raises `InputError` for a folder that holds none (a transformer's is told so), damaged files, data that cannot be
    read again, an unknown device, and a folder for results that cannot be written.
    """
    run = load_shelf_run(arguments.model, arguments.device)
    folder = check_folder(arguments.out or arguments.model)
    return net_of(run, arguments.model, find_device(arguments.device)).with_inputs(arguments.inputs), folder


def net_of(run: ShelfRun, path: Path, device: torch.device) -> Net:
    """A run as a net under study."""
    objective = run.objective
    training, held_out = training_examples(run, device), objective.held_out.to(device)
    data = run.config.data
    images = None if isinstance(data, FeaturesConfig) else split_images(data, run.config.train.seed)[1]
    return Net(
        name=path.resolve().name,
        model=run.model,
        untrained=settled(run.untrained().to(device), training),
        training=training,
        held_out=Examples(held_out.inputs, held_out.targets),
        loss=loss_of(objective),
        loss_name="cross-entropy, nats" if run.config.kind in ("convnet", "resnet", "mlp") else "squared error",
        labels=None if images is None else images.labels,
        classes=() if images is None else images.classes,
        activation=getattr(run.config.model, "activation", "relu"),
        description=describe(run, path),
        identity=identity(run, path),
    )


def training_examples(run: ShelfRun, device: torch.device) -> Examples:
    """Those of the run, or some drawn anew."""
    if run.objective.n_train is not None:
        found = run.objective.examples("training").to(device)
    else:
        found = run.objective.source(DRAWN, run.config.train.seed, device).draw(0)
    return Examples(found.inputs, found.targets)


def loss_of(objective: Objective) -> Callable[[Any, Tensor], Tensor]:
    """Of each example."""

    def loss(output: Tensor, targets: Tensor) -> Tensor:
        return objective.scores(output, targets)["loss"]

    return loss


def describe(run: ShelfRun, path: Path) -> str:
    """One line: what kind of net, its size, on what it was trained."""
    parameters = sum(each.numel() for each in run.model.parameters())
    return f"{path}: {run.kind}, {parameters:,} parameters, {run.step} steps on {run.config.data.kind}"


def identity(run: ShelfRun, path: Path) -> dict[str, Any]:
    return {
        "path": str(path),
        "checkpoint": str(run.path),
        "step": run.step,
        "hash": run.model_hash,
        "config": to_dict(run.config),
    }
