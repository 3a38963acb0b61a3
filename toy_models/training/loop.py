"""The training loop, whatever is trained: in memory, or into a run folder."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from toy_models.training.base_session import BaseSession, TrainingDiverged
from toy_models.training.interrupt import deferred_interrupt
from toy_models.training.metrics_log import MetricsLog, Record
from toy_models.training.progress import BaseProgress
from toy_models.training.run_folder import RunFolder, resume_command
from toy_models.training.schedule import is_kept, is_logged

Log = Callable[[Record], None]


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C was pressed; the checkpoint of `step` was written, and `command` goes on from it."""

    def __init__(self, folder: Path, step: int, steps: int):
        self.folder, self.step, self.command = folder, step, resume_command(folder)
        super().__init__(f"stopped after {step} of {steps} steps; to go on: {self.command}")


def loop_in_folder(run: RunFolder, session: BaseSession, bar: BaseProgress, log: Log | None) -> list[Record]:
    """Steps a session to its end, its metrics, checkpoints and result in the folder; all of the run's records.

    Raises `TrainingDiverged` for NaN or inf and `TrainingInterrupted` on Ctrl-C, each with the newest checkpoint whole.
    """
    from_start = run.newest_checkpoint is None
    metrics = MetricsLog(run.metrics, keep_until=-1 if from_start else session.step)

    def on_checkpoint() -> None:
        session.check_weights()
        metrics.sync()
        run.save(session)

    with closing(metrics), bar, deferred_interrupt() as interrupted:
        on_record = recorder(metrics.append, bar, log)
        try:
            loop(session, from_start, on_record, on_checkpoint, interrupted)
        except TrainingDiverged as error:
            run.note(status="diverged")
            raise TrainingDiverged(error.step, f"{error}. {_last_good(run)}") from error
        if not session.finished:
            run.note(status="interrupted")
            raise TrainingInterrupted(run.path, session.step, session.schedule.steps)
        run.finish(session, session.summary())
    return metrics.records


def loop_in_memory(session: BaseSession, bar: BaseProgress, log: Log | None) -> list[Record]:
    """Steps a session to its end; its records."""
    records: list[Record] = []
    with bar:
        loop(session, True, recorder(records.append, bar, log), session.check_weights, lambda: False)
    return records


def loop(
    session: BaseSession,
    from_start: bool,
    on_record: Log,
    on_checkpoint: Callable[[], None],
    interrupted: Callable[[], bool],
) -> None:
    """Steps until the session is finished, or, at an interruption, until the checkpoint of the present step."""
    schedule = session.schedule
    if from_start:
        on_record(session.record(None))
        on_checkpoint()
    stop = False
    while not (session.finished or stop):
        update = session.advance()
        if is_logged(session.step, schedule):
            on_record(session.record(update))
        stop = interrupted()
        if is_kept(session.step, schedule) or session.finished or stop:
            on_checkpoint()


def recorder(append: Log, bar: BaseProgress, log: Log | None) -> Log:
    """What happens with each record."""

    def on_record(record: Record) -> None:
        append(record)
        bar.show(record)
        if log is not None:
            log(dict(record))

    return on_record


def _last_good(run: RunFolder) -> str:
    newest = run.newest_checkpoint
    return "No checkpoint was written" if newest is None else f"The last good checkpoint is {newest}"
