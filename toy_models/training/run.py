"""The training loop, in memory or into a folder."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toy_models.checkpoint import load_checkpoint, load_state
from toy_models.device import find_device
from toy_models.errors import InputError
from toy_models.tasks import Task, make_task
from toy_models.train_config import RunConfig, check_model_fits
from toy_models.training.interrupt import deferred_interrupt
from toy_models.training.losses import Losses
from toy_models.training.metrics_log import MetricsLog, Record, read_metrics
from toy_models.training.progress import Progress
from toy_models.training.run_folder import RunFolder, open_run, resume_command
from toy_models.training.schedule import is_kept, is_logged
from toy_models.training.session import Session, TrainingDiverged
from toy_models.training.target import Target, measure_target
from toy_models.transformer import Transformer
from toy_models.weights_file import model_hash


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


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C was pressed; the checkpoint of `step` was written, and `command` goes on from it."""

    def __init__(self, folder: Path, step: int, steps: int):
        self.folder, self.step, self.command = folder, step, resume_command(folder)
        super().__init__(f"stopped after {step} of {steps} steps; to go on: {self.command}")


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
        metrics = MetricsLog(run.metrics, keep_until=-1 if newest is None else session.step)

        def on_checkpoint() -> None:
            session.check_weights()
            metrics.sync()
            run.save(session)

        bar = Progress(config.train.steps, target, progress)
        with closing(metrics), bar, deferred_interrupt() as interrupted:
            on_record = _recorder(metrics.append, bar, log)
            try:
                _loop(session, newest is None, on_record, on_checkpoint, interrupted)
            except TrainingDiverged as error:
                run.note(status="diverged")
                raise TrainingDiverged(error.step, f"{error}. {_last_good(run)}") from error
            if not session.finished:
                run.note(status="interrupted")
                raise TrainingInterrupted(run.path, session.step, config.train.steps)
            summary = _summary(session)
            run.finish(session, summary)
        return _result(summary, session.model, config, target, metrics.records, run.path)


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
    records: list[Record] = []
    with Progress(config.train.steps, target, progress) as bar:
        _loop(session, True, _recorder(records.append, bar, log), session.check_weights, lambda: False)
    return _result(_summary(session), session.model, config, target, records, None)


def _loop(
    session: Session,
    from_start: bool,
    on_record: Callable[[Record], None],
    on_checkpoint: Callable[[], None],
    interrupted: Callable[[], bool],
) -> None:
    """Steps until the session is finished, or, at an interruption, until the checkpoint of the present step."""
    config = session.config.train
    if from_start:
        on_record(session.record(None))
        on_checkpoint()
    stop = False
    while not (session.finished or stop):
        update = session.advance()
        if is_logged(session.step, config):
            on_record(session.record(update))
        stop = interrupted()
        if is_kept(session.step, config) or session.finished or stop:
            on_checkpoint()


def _recorder(
    append: Callable[[Record], None], bar: Progress, log: Callable[[Record], None] | None
) -> Callable[[Record], None]:
    """What happens with each record."""

    def on_record(record: Record) -> None:
        append(record)
        bar.show(record)
        if log is not None:
            log(dict(record))

    return on_record


def _check_task(config: RunConfig, task: Task | None) -> Task:
    task = task or make_task(config.task)
    if task.config != config.task:
        raise InputError("the task was made from another config than the run's")
    check_model_fits(config.model, task.d_vocab, task.n_ctx)
    return task


def _last_good(run: RunFolder) -> str:
    newest = run.newest_checkpoint
    return "No checkpoint was written" if newest is None else f"The last good checkpoint is {newest}"


def _summary(session: Session) -> dict[str, Any]:
    """`result` in run.json."""
    return {
        "step": session.step,
        "emerged_step": session.emerged_step,
        "stopped_early": session.stopped_early,
        "eval_loss": session.losses.all,
        "eval_predictable_loss": session.losses.predictable,
        "seconds": session.seconds,
        "device": str(session.device),
        "model_hash": model_hash(session.model),
    }


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
