"""Training the models of the shelf in memory: a model and an objective, or a config that names both."""

import copy
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from toy_models.device import find_device
from toy_models.shelf_config import ShelfRunConfig, ShelfTrainConfig
from toy_models.shelf_models import ShelfModel, make_shelf_model
from toy_models.training.loop import Log, loop_in_memory
from toy_models.training.metrics_log import Record
from toy_models.training.objectives import Objective, objective_of
from toy_models.training.seeds import generator_for
from toy_models.training.shelf_progress import ShelfProgress
from toy_models.training.shelf_session import ShelfSession
from toy_models.training.traces import UpdateTrace, trace_updates

Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True)
class ShelfResult(Generic[Model]):
    """A trained model, in evaluation mode, and how it came about.

    `held_out` are its scores on held-out examples ("loss", of classifiers "accuracy"); `objective.measure(model,
    "training")` gives those on training examples. `records` are the lines of metrics; `trace` holds the updates, where
    they were asked for.
    """

    model: Model = field(repr=False)
    objective: Objective = field(repr=False)
    train: ShelfTrainConfig
    step: int
    held_out: dict[str, float]
    seconds: float
    records: tuple[Record, ...] = field(repr=False)
    trace: UpdateTrace | None = field(default=None, repr=False)
    config: ShelfRunConfig | None = None
    folder: Path | None = None


def train_model(
    model: Model,
    objective: Objective,
    config: ShelfTrainConfig,
    *,
    trace: str | Sequence[str] | None = None,
    log: Log | None = None,
    progress: bool = False,
) -> ShelfResult[Model]:
    """Trains any module, in place, on an objective, without a file; it ends in evaluation mode.

    `config.seed` decides the order of the data and what dropout draws, not the weights, which are the model's own;
    torch's default generator is left as it was. `trace` names parameters, such as "blocks.*.weight", whose updates
    are kept. `log` is called with each record of metrics.

    Raises `InputError` before the first update for what cannot be trained, `TrainingDiverged` for NaN or inf.
    """
    session = start_session(model, objective, config)
    with trace_updates(model, session.optimizer, trace) if trace else nullcontext() as traced:
        records = loop_in_memory(session, ShelfProgress(config.steps, objective.chance(), progress), log)
    return ShelfResult(
        model=model.eval(),
        objective=objective,
        train=config,
        step=session.step,
        held_out=session.measured,
        seconds=session.seconds,
        records=tuple(records),
        trace=traced,
    )


def train_shelf_in_memory(
    config: ShelfRunConfig,
    *,
    objective: Objective | None = None,
    trace: str | Sequence[str] | None = None,
    log: Log | None = None,
    progress: bool = False,
) -> ShelfResult[ShelfModel]:
    """`train_model` of the model and data that a config names, weights drawn by its seed.

    `objective` (from `objective_of`) spares reading the data anew for each run.
    """
    model = make_shelf_model(config.model, generator_for(config.train.seed, "weights"))
    objective = objective or objective_of(config)
    result = train_model(model, objective, config.train, trace=trace, log=log, progress=progress)
    return replace(result, config=config)


def start_session(
    model: nn.Module, objective: Objective, config: ShelfTrainConfig, run: ShelfRunConfig | None = None
) -> ShelfSession:
    """A session at step 0; `InputError` for what plainly cannot be trained."""
    session = ShelfSession(model, objective, config, find_device(config.device), run)
    if config.batch_size == 1 and any(isinstance(module, _BatchNorm) for module in model.modules()):
        try_one_batch(session)
    return session


def try_one_batch(session: ShelfSession) -> None:
    """Whatever error a copy of the model raises in training mode, on a batch like the first."""
    inputs = session.objective.held_out.inputs[: session.schedule.batch_size].to(session.device)
    with torch.no_grad(), session.own_noise():
        copy.deepcopy(session.model).train()(inputs)
    session.noise = session.first_noise()
