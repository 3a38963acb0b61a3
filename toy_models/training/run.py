"""Training a transformer, in memory or into a folder."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toy_models.checkpoint import load_checkpoint, load_state
from toy_models.device import find_device
from toy_models.errors import InputError
from toy_models.tasks import Task, make_task
from toy_models.train_config import RunConfig, check_model_fits
from toy_models.training.loop import loop_in_folder, loop_in_memory
from toy_models.training.losses import Losses
from toy_models.training.metrics_log import Record, read_metrics
from toy_models.training.progress import Progress
from toy_models.training.run_folder import RunFolder, open_run
from toy_models.training.session import Session
from toy_models.training.target import Target, measure_target
from toy_models.transformer import Transformer


@dataclass(frozen=True)
class TrainResult:
    """A trained model and how it came about.

    `step` updates were made; at `emerged_step` 90 % of the gap between chance and the optimum was first seen closed
    on the held-out sample (None: never, or no optimum is known); `losses` are the held-out losses at the end.
    """

    model: Transformer = field(repr=False)
    config: RunConfig
    target: Target
    step: int
    emerged_step: int | None
    stopped_early: bool
    losses: Losses
    seconds: float
    records: tuple[Record, ...] = field(repr=False)
    folder: Path | None = None


def train(
    config: RunConfig,
    out: str | Path,
    *,
    task: Task | None = None,
    log: Callable[[Record], None] | None = None,
    progress: bool = True,
    resume: bool = False,
    overwrite: bool = False,
) -> TrainResult:
    """Trains a model into the folder `out`: run.json, metrics.jsonl, checkpoints/, config.json, model.safetensors.

    `resume` goes on with the run that is in `out`, from its newest checkpoint, and ends with the weights and
    metrics it would have had without the break (bit for bit on the same CPU with as many threads); where no run has
    begun it starts one. `overwrite` replaces a run. `log` is called with each record of metrics; `task` spares
    making the task anew.

    Raises `InputError` before work starts for what cannot be done; `OutputError` when writing fails,
    `TrainingDiverged` for NaN or inf and `TrainingInterrupted` on Ctrl-C, each with the newest checkpoint whole.
    """
    device = find_device(config.train.device)
    task = _check_task(config, task)
    with open_run(Path(out), config, resume, overwrite) as run:
        if run.finished:
            return _result_of_finished(run, config)
        target = run.target or measure_target(task)
        session = Session(config, task, target, device)
        newest = run.newest_checkpoint
        if newest is not None:
            session.restore(load_checkpoint(newest).model, load_state(newest))
        run.note(status="running", target=target.to_dict())
        records = loop_in_folder(run, session, Progress(config.train.steps, target, progress), log)
        return _result(run.info["result"], session.model, config, target, records, run.path)


def train_in_memory(
    config: RunConfig,
    *,
    task: Task | None = None,
    target: Target | None = None,
    log: Callable[[Record], None] | None = None,
    progress: bool = False,
) -> TrainResult:
    """The same training, weights and records as `train`'s, without a folder, for notebooks and sweeps of seeds.

    `task` and `target` (from `measure_target`) spare making them anew for each seed.
    """
    device = find_device(config.train.device)
    task = _check_task(config, task)
    target = target or measure_target(task, n_order_free=0)
    session = Session(config, task, target, device)
    records = loop_in_memory(session, Progress(config.train.steps, target, progress), log)
    return _result(session.summary(), session.model, config, target, records, None)


def _check_task(config: RunConfig, task: Task | None) -> Task:
    task = task or make_task(config.task)
    if task.config != config.task:
        raise InputError("the task was made from another config than the run's")
    check_model_fits(config.model, task.d_vocab, task.n_ctx)
    return task


def _result_of_finished(run: RunFolder, config: RunConfig) -> TrainResult:
    """The result of a run that has nothing left to do, read from its folder."""
    if run.target is None:
        raise InputError(f"{run.path} holds a finished run without a target")
    model = load_checkpoint(run.path).model
    return _result(run.info["result"], model, config, run.target, read_metrics(run.metrics), run.path)


def _result(
    summary: dict[str, Any],
    model: Transformer,
    config: RunConfig,
    target: Target,
    records: list[Record],
    folder: Path | None,
) -> TrainResult:
    return TrainResult(
        model=model,
        config=config,
        target=target,
        step=summary["step"],
        emerged_step=summary["emerged_step"],
        stopped_early=summary["stopped_early"],
        losses=Losses(summary["eval_loss"], summary["eval_predictable_loss"]),
        seconds=summary["seconds"],
        records=tuple(records),
        folder=folder,
    )
