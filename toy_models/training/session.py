"""A training run in memory: model, optimiser, data and how far it has come. Touches no files."""

import hashlib
import math
import time
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from toy_models.errors import InputError
from toy_models.tasks.base import Batch, Task
from toy_models.text import TextTask
from toy_models.train_config import RunConfig
from toy_models.training.losses import Losses, batch_losses, evaluate, next_token_loss
from toy_models.training.metrics_log import Record
from toy_models.training.optimizer import make_optimizer, optimizer_tensors, restore_optimizer
from toy_models.training.schedule import is_evaluated, learning_rate
from toy_models.training.seeds import generator_for
from toy_models.training.target import Target
from toy_models.transformer import Transformer
from toy_models.weights_file import check_finite


class TrainingDiverged(InputError):
    """Loss, gradient or weights became NaN or infinite at `step`; the message says what to change."""

    def __init__(self, step: int, message: str):
        super().__init__(message)
        self.step = step


@dataclass(frozen=True)
class Update:
    """What one update of the weights was made from; `loss` and `logits` are those before it."""

    batch: Batch
    logits: Float[Tensor, "batch pos d_vocab"]
    loss: Float[Tensor, ""]
    grad_norm: Float[Tensor, ""]
    learning_rate: float


class Session:
    """One run, a step at a time. Step n is the state after n updates.

    `state` and `restore` carry everything that decides what comes next, so that a restored session goes on bit
    for bit as the first would have (on the same CPU, with as many threads).
    """

    def __init__(self, config: RunConfig, task: Task, target: Target, device: torch.device):
        self.config, self.task, self.target, self.device = config, task, target, device
        seed = config.train.seed
        self.model = Transformer(config.model, generator_for(seed, "weights")).to(device)
        self.parameters = list(self.model.parameters())
        self.optimizer = make_optimizer(self.model, config.train)
        self.data = generator_for(seed, "data")
        self.held_out = self.on_device(held_out_sample(task, config.train.eval_sequences, seed))
        self.step = 0
        self.emerged_step: int | None = None
        self.stopped_early = False
        self.losses = Losses(math.nan, None)  # on the held-out sample, last measured
        self.started = time.perf_counter()

    @property
    def finished(self) -> bool:
        return self.stopped_early or self.step >= self.config.train.steps

    @property
    def seconds(self) -> float:
        """Time spent training, those of earlier processes included."""
        return time.perf_counter() - self.started

    def on_device(self, batch: Batch) -> Batch:
        if self.device.type == "cpu":
            return batch
        return Batch(*(t.pin_memory().to(self.device, non_blocking=True) for t in (batch.tokens, batch.predictable)))

    def advance(self) -> Update:
        """One update of the weights; `TrainingDiverged` instead of an update that would spoil them.

        On a GPU nothing waits for the loss here: there NaN and inf are found by `record` and `check_weights`.
        """
        c = self.config.train
        batch = self.on_device(self.task.sample(c.batch_size, self.data))
        rate = learning_rate(self.step, c)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        logits = self.model(batch.tokens)
        loss = next_token_loss(logits, batch.tokens)
        self.optimizer.zero_grad()
        loss.backward()
        longest = math.inf if c.grad_clip is None else c.grad_clip
        grad_norm = torch.nn.utils.clip_grad_norm_(self.parameters, longest, foreach=True)
        update = Update(batch, logits.detach(), loss.detach(), grad_norm, rate)
        if self.device.type == "cpu":
            self.check_update(update)
        self.optimizer.step()
        self.step += 1
        return update

    def record(self, update: Update | None) -> Record:
        """One line of metrics: the update's losses, before it, and, where due, those on the held-out sample, after it.

        Decides, on the held-out sample, whether the behaviour has emerged and whether to stop early.
        """
        c = self.config.train
        tokens = self.step * c.batch_size * self.task.n_ctx
        values: Record = {"step": self.step}
        if update is not None:
            self.check_update(update)
            losses = batch_losses(update.logits, update.batch)
            values |= {"loss": losses.all, "predictable_loss": losses.predictable}
            values |= {"learning_rate": update.learning_rate, "grad_norm": update.grad_norm.item()}
        values |= {"tokens": tokens, "seconds": round(self.seconds, 3)}
        if is_evaluated(self.step, c):
            values |= self.evaluate()
        return {name: value for name, value in values.items() if value is not None}

    def evaluate(self) -> Record:
        """Losses on the held-out sample."""
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

    def check_update(self, update: Update) -> None:
        """`TrainingDiverged` if the loss or the gradient is NaN or infinite."""
        for what, value in (("the loss", update.loss), ("the gradient", update.grad_norm)):
            if not math.isfinite(value.item()):
                raise self.diverged(what, value.item())

    def check_weights(self) -> None:
        """`TrainingDiverged` if a weight is NaN or infinite."""
        try:
            check_finite(self.model.state_dict())
        except InputError as error:
            raise self.diverged(str(error).split(" holds ")[0], math.nan) from error

    def diverged(self, what: str, value: float) -> TrainingDiverged:
        c = self.config.train
        advice = f"lower learning_rate ({c.learning_rate}), raise warmup_steps ({c.warmup_steps}) or clip gradients"
        return TrainingDiverged(self.step, f"{what} became {value} after {self.step} updates: {advice}")

    def state(self) -> dict[str, Any]:
        """All that `restore` needs besides the weights: tensors, and values with a JSON form."""
        return {
            **optimizer_tensors(self.model, self.optimizer),
            "data_generator": self.data.get_state(),
            "held_out_hash": tokens_hash(self.held_out),
            "step": self.step,
            "emerged_step": self.emerged_step,
            "stopped_early": self.stopped_early,
            "losses": [self.losses.all, self.losses.predictable],
            "seconds": self.seconds,
        }

    def restore(self, model: Transformer, state: dict[str, Any]) -> None:
        """Goes back to where `state` was read; `InputError` if it is of another run, or its data have changed."""
        if state.get("held_out_hash") != tokens_hash(self.held_out):
            raise InputError("the task gives other sequences than when this run began; has its text changed?")
        try:
            optimizer = {name: value for name, value in state.items() if "/" in name}
            self.data.set_state(state["data_generator"])
            self.step, self.emerged_step, self.stopped_early = (
                state[name] for name in ("step", "emerged_step", "stopped_early")
            )
            self.losses = Losses(*state["losses"])
            self.started = time.perf_counter() - state["seconds"]
        except (KeyError, TypeError, RuntimeError) as error:
            raise InputError(f"this is not the state of a training run: {error!r}") from error
        if model.config != self.config.model:
            raise InputError("the checkpoint's model has another config than the run's")
        self.model.load_state_dict(model.state_dict())
        restore_optimizer(self.model, self.optimizer, optimizer)


def held_out_sample(task: Task, n: int, seed: int) -> Batch:
    """Sequences that are not trained on: drawn by a generator of their own, of real text from held-out files."""
    generator = generator_for(seed, "held-out")
    if isinstance(task, TextTask) and task.n_held_out_tokens:
        return task.held_out(n, generator)
    return task.sample(n, generator)


def tokens_hash(batch: Batch) -> str:
    """SHA-256 of a batch's tokens."""
    return hashlib.sha256(batch.tokens.cpu().contiguous().numpy().tobytes()).hexdigest()
