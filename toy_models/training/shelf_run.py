"""Training a model of the shelf into a run folder, and reading such a run back."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch

from toy_models.checkpoint_files import load_state
from toy_models.device import find_device
from toy_models.errors import InputError
from toy_models.shelf_checkpoint import load_shelf_checkpoint
from toy_models.shelf_config import ShelfRunConfig
from toy_models.shelf_models import ShelfModel, make_shelf_model
from toy_models.training.loop import Log, loop_in_folder
from toy_models.training.metrics_log import Record, read_metrics
from toy_models.training.objectives import Objective, objective_of
from toy_models.training.run_folder import RunFolder, load_any_config, open_run
from toy_models.training.seeds import generator_for
from toy_models.training.shelf import ShelfResult, start_session
from toy_models.training.shelf_progress import ShelfProgress


@dataclass(frozen=True)
class ShelfRun:
    """A trained model of the shelf as it was found on disk, in evaluation mode, after `step` updates.

    `objective` is read anew when it is first asked for: `objective.held_out.inputs` are examples that the model has
    not been trained on, `objective.examples("training")` those that it has.
    """

    model: ShelfModel = field(repr=False)
    config: ShelfRunConfig
    step: int
    path: Path
    model_hash: str

    @cached_property
    def objective(self) -> Objective:
        return objective_of(self.config)

    @property
    def kind(self) -> str:
        return self.config.kind

    def untrained(self) -> ShelfModel:
        """The same model before its first update, on the CPU."""
        return make_shelf_model(self.config.model, generator_for(self.config.train.seed, "weights")).eval()


def load_shelf_run(path: str | Path, device: str | torch.device = "cpu") -> ShelfRun:
    """The model of a run or checkpoint folder that `train_shelf` wrote, with its config and data.

    Raises `InputError` as `load_shelf_checkpoint` does: in one line that names the file; among them a transformer's.
    """
    found = load_shelf_checkpoint(path, device)
    return ShelfRun(found.model, found.config, found.step, found.path, found.model_hash)


def load_shelf_config(path: str | Path) -> ShelfRunConfig:
    """The config of the run in a folder, to go on with it; `InputError` if there is none, or a transformer's."""
    config = load_any_config(path)
    if not isinstance(config, ShelfRunConfig):
        raise InputError(f"{path} holds a run of a transformer, and one of images or vectors was asked for")
    return config


def check_trainable(config: ShelfRunConfig, objective: Objective) -> None:
    """`InputError` for what `train_shelf` would refuse before it writes anything."""
    model = make_shelf_model(config.model, generator_for(config.train.seed, "weights"))
    start_session(model, objective, config.train, config)


def train_shelf(
    config: ShelfRunConfig,
    out: str | Path,
    *,
    objective: Objective | None = None,
    log: Log | None = None,
    progress: bool = True,
    resume: bool = False,
    overwrite: bool = False,
) -> ShelfResult[ShelfModel]:
    """Trains a model into the folder `out`: the same files, the same ways to stop and to go on as `train`'s.

    `objective` (from `objective_of`) spares reading the data anew. Raises as `train` does.
    """
    find_device(config.train.device)
    objective = objective or objective_of(config)
    model = make_shelf_model(config.model, generator_for(config.train.seed, "weights"))
    session = start_session(model, objective, config.train, config)
    with open_run(Path(out), config, resume, overwrite) as run:
        if run.finished:
            return _result_of_finished(run, config, objective)
        newest = run.newest_checkpoint
        if newest is not None:
            session.restore(load_shelf_checkpoint(newest).model, load_state(newest))
        run.note(status="running", target=objective.chance())
        records = loop_in_folder(run, session, ShelfProgress(config.train.steps, objective.chance(), progress), log)
        return _result(run, model, config, objective, records)


def _result_of_finished(run: RunFolder, config: ShelfRunConfig, objective: Objective) -> ShelfResult[ShelfModel]:
    """The result of a run that has nothing left to do, read from its folder."""
    return _result(run, load_shelf_checkpoint(run.path).model, config, objective, read_metrics(run.metrics))


def _result(
    run: RunFolder, model: ShelfModel, config: ShelfRunConfig, objective: Objective, records: list[Record]
) -> ShelfResult[ShelfModel]:
    ended = run.info["result"]
    return ShelfResult(
        model=model.eval(),
        objective=objective,
        train=config.train,
        step=ended["step"],
        held_out=ended["measured"],
        seconds=ended["seconds"],
        records=tuple(records),
        config=config,
        folder=run.path,
    )
