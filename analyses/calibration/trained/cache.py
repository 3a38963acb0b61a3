"""Trained models on disk, each under its name and the digest of its configs: what is there is not trained again."""

from functools import cache
from pathlib import Path

from analyses.calibration.trained.cases import Case
from toy_models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from toy_models.config import to_dict
from toy_models.task_config import RepeatedTokensConfig
from toy_models.tasks import make_task
from toy_models.training import Target, measure_target, train_in_memory

FOLDER = Path("runs/calibration")
"""Where the models are kept, beside other runs."""


def folder_of(case: Case, root: Path) -> Path:
    return root / f"{case.name.replace(' ', '-')}-{case.digest}"


def is_trained(case: Case, root: Path) -> bool:
    return (folder_of(case, root) / "config.json").exists()


def trained(case: Case, root: Path) -> Checkpoint:
    """The case's model, from disk if it is there; else it is trained and written, whole or not at all."""
    folder = folder_of(case, root)
    if not is_trained(case, root):
        task = make_task(case.run.task)
        result = train_in_memory(case.run, task=task, target=target_of(case.run.task))
        metadata = {
            "step": result.step,
            "seed": case.seed,
            "task": to_dict(case.run.task),
            "vocabulary": task.vocabulary.to_dict(),
            "train": to_dict(case.run.train),
            "predictable_loss": result.losses.predictable,
            "seconds": round(result.seconds, 1),
        }
        root.mkdir(parents=True, exist_ok=True)
        save_checkpoint(folder, result.model, metadata)
    return load_checkpoint(folder)


@cache
def target_of(task: RepeatedTokensConfig) -> Target:
    """The task's optimum, from which a run knows when it may stop."""
    return measure_target(make_task(task), n_sequences=2048, n_order_free=0)
