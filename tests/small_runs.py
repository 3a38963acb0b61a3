"""Training runs small enough to be made many times in a test, and what two of them are compared by."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from toy_models.config import TransformerConfig
from toy_models.task_config import RepeatedTokensConfig
from toy_models.tasks import LossEstimate
from toy_models.train_config import RunConfig, TrainConfig
from toy_models.training import Target
from toy_models.training.metrics_log import Record, read_metrics

MODEL = TransformerConfig(
    n_layers=2,
    n_heads=2,
    d_model=12,
    d_head=5,
    d_vocab=12,
    n_ctx=24,
    positions="standard",
    smeared_keys=True,
    normalization="LN",
    biases=True,
    init_range=0.2,
)
TASK = RepeatedTokensConfig(d_vocab=12, n_ctx=24, bos=True, min_period=3, max_period=6, max_offset=4)
TRAIN = TrainConfig(
    steps=24,
    batch_size=6,
    learning_rate=1e-2,
    warmup_steps=4,
    decay="cosine",
    final_share=0.1,
    weight_decay=0.1,
    grad_clip=1.0,
    beta1=0.9,
    beta2=0.99,
    log_every=3,
    eval_every=6,
    eval_sequences=16,
    stop_margin=None,
    checkpoint_every=10,
    log_spaced_checkpoints=True,
    device="cpu",
)
TARGET = Target(chance=2.4849066497880004, optimum=LossEstimate(0.135, 0.001, 4096))


def small_run(**changes: Any) -> RunConfig:
    """24 steps of a model with two layers; `changes` are of the training."""
    return RunConfig(MODEL, TASK, replace(TRAIN, **changes))


def without_time(records: list[Record] | tuple[Record, ...]) -> list[Record]:
    """Records as two runs of the same config must share them."""
    return [{name: value for name, value in record.items() if name != "seconds"} for record in records]


def metrics_of(folder: Path) -> list[Record]:
    return without_time(read_metrics(folder / "metrics.jsonl"))
