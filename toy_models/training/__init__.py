"""Training, of transformers: `train` into a folder that can be gone on from, `train_in_memory` without any file.

Of the models that read images or vectors: `train_shelf`, `train_shelf_in_memory`, and `load_shelf_run`, which reads
one back; of any module: `train_model`. What such a model is trained to do is in `toy_models.training.objectives`.
"""

from toy_models.training.base_session import TrainingDiverged
from toy_models.training.loop import TrainingInterrupted
from toy_models.training.run import TrainResult, train, train_in_memory
from toy_models.training.run_folder import load_run_config
from toy_models.training.shelf import ShelfResult, train_model, train_shelf_in_memory
from toy_models.training.shelf_run import ShelfRun, check_trainable, load_shelf_config, load_shelf_run, train_shelf
from toy_models.training.target import EMERGED, Target, measure_target
from toy_models.training.traces import UpdateTrace, trace_updates

__all__ = [
    "EMERGED",
    "ShelfResult",
    "ShelfRun",
    "Target",
    "TrainResult",
    "TrainingDiverged",
    "TrainingInterrupted",
    "UpdateTrace",
    "check_trainable",
    "load_run_config",
    "load_shelf_config",
    "load_shelf_run",
    "measure_target",
    "trace_updates",
    "train",
    "train_in_memory",
    "train_model",
    "train_shelf",
    "train_shelf_in_memory",
]
