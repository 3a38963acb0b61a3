"""Training: `train` into a folder that can be gone on from, `train_in_memory` without any file."""

from toy_models.training.run import TrainingInterrupted, TrainResult, train, train_in_memory
from toy_models.training.run_folder import load_run_config
from toy_models.training.session import TrainingDiverged
from toy_models.training.target import EMERGED, Target, measure_target

__all__ = [
    "EMERGED",
    "Target",
    "TrainResult",
    "TrainingDiverged",
    "TrainingInterrupted",
    "load_run_config",
    "measure_target",
    "train",
    "train_in_memory",
]
