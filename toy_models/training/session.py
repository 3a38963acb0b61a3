"""A transformer's training run in memory: model, optimiser, data and how far it has come. Touches no files."""

import hashlib
import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from toy_models.checkpoint import model_files
from toy_models.config import to_dict
from toy_models.errors import InputError
from toy_models.tasks.base import Batch, Task
from toy_models.text import TextTask
from toy_models.train_config import RunConfig
from toy_models.training.base_session import BaseSession, TrainingDiverged, Update
from toy_models.training.losses import Losses, batch_losses, evaluate, next_token_loss
from toy_models.training.metrics_log import Record
from toy_models.training.optimizer import make_optimizer
from toy_models.training.seeds import generator_for
from toy_models.training.target import Target
from toy_models.transformer import Transformer
from toy_models.weights_file import model_hash

__all__ = ["Session", "TrainingDiverged", "Update", "held_out_sample", "tokens_hash"]


class Session(BaseSession):
    """One run of a transformer on a task, measured against the task's `target`."""

    model: Transformer

    def __init__(self, config: RunConfig, task: Task, target: Target, device: torch.device):
        self.config, self.task, self.target = config, task, target
        seed = config.train.seed
        model = Transformer(config.model, generator_for(seed, "weights")).to(device)
        super().__init__(model, make_optimizer(model, config.train), config.train, device)
        self.data = generator_for(seed, "data")
        self.held_out = self.on_device(held_out_sample(task, config.train.eval_sequences, seed))
        self.emerged_step: int | None = None
        self.losses = Losses(math.nan, None)  # on the held-out sample, last measured

    def on_device(self, batch: Batch) -> Batch:
        if self.device.type == "cpu":
            return batch
        return Batch(*(t.pin_memory().to(self.device, non_blocking=True) for t in (batch.tokens, batch.predictable)))

    def compute(self) -> tuple[Batch, Float[Tensor, "batch pos d_vocab"], Float[Tensor, ""]]:
        batch = self.on_device(self.task.sample(self.config.train.batch_size, self.data))
        logits = self.model(batch.tokens)
        return batch, logits, next_token_loss(logits, batch.tokens)

    def update_values(self, update: Update) -> Record:
        """Losses on all and on predictable positions."""
        losses = batch_losses(update.logits, update.batch)
        return {"loss": losses.all, "predictable_loss": losses.predictable}

    def progress(self) -> Record:
        return {"tokens": self.step * self.config.train.batch_size * self.task.n_ctx}

    def evaluate(self) -> Record:
        """Losses on the held-out sample; decides whether the behaviour has emerged and whether to stop early."""
        losses = evaluate(self.model, self.held_out, self.config.train.batch_size)
        if not math.isfinite(losses.all):
            raise self.diverged("the held-out loss", losses.all)
        self.losses = losses
        values: Record = {"eval_loss": losses.all, "eval_predictable_loss": losses.predictable}
        if losses.predictable is not None:
            values["gap_closed"] = self.target.gap_closed(losses.predictable)
            if self.emerged_step is None and self.target.is_emerged(losses.predictable):
                self.emerged_step = self.step
            if self.target.is_within(self.config.train.stop_margin, losses.predictable):
                self.stopped_early = True
        return values

    def own_state(self) -> dict[str, Any]:
        return {
            "data_generator": self.data.get_state(),
            "held_out_hash": tokens_hash(self.held_out),
            "emerged_step": self.emerged_step,
            "losses": [self.losses.all, self.losses.predictable],
        }

    def restore_own(self, state: dict[str, Any]) -> None:
        if state.get("held_out_hash") != tokens_hash(self.held_out):
            raise InputError("the task gives other sequences than when this run began; has its text changed?")
        self.data.set_state(state["data_generator"])
        self.emerged_step = state["emerged_step"]
        self.losses = Losses(*state["losses"])

    def files(self) -> dict[str, bytes]:
        return model_files(self.model, self.metadata())

    def metadata(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "seed": self.config.train.seed,
            "task": to_dict(self.config.task),
            "vocabulary": self.task.vocabulary.to_dict(),
        }

    def summary(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "emerged_step": self.emerged_step,
            "stopped_early": self.stopped_early,
            "eval_loss": self.losses.all,
            "eval_predictable_loss": self.losses.predictable,
            "seconds": self.seconds,
            "device": str(self.device),
            "model_hash": model_hash(self.model),
        }


def held_out_sample(task: Task, n: int, seed: int) -> Batch:
    """Sequences that are not trained on: drawn by a generator of their own, of real text from held-out files."""
    generator = generator_for(seed, "held-out")
    if isinstance(task, TextTask) and task.n_held_out_tokens:
        return task.held_out(n, generator)
    return task.sample(n, generator)


def tokens_hash(batch: Batch) -> str:
    """SHA-256 of a batch's tokens."""
    return hashlib.sha256(batch.tokens.cpu().contiguous().numpy().tobytes()).hexdigest()
