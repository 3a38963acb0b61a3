"""What every training run in memory does at a step, whatever is trained. Touches no files."""

import math
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from toy_models.errors import InputError
from toy_models.shelf_config import ShelfTrainConfig
from toy_models.train_config import TrainConfig
from toy_models.training.metrics_log import Record
from toy_models.training.optimizer import optimizer_tensors, restore_optimizer
from toy_models.training.schedule import is_evaluated, learning_rate
from toy_models.weights_file import check_finite


class TrainingDiverged(InputError):
    """Loss, gradient or weights became NaN or infinite at `step`; the message says what to change."""

    def __init__(self, step: int, message: str):
        super().__init__(message)
        self.step = step


@dataclass(frozen=True)
class Update:
    """What one update of the weights was made from; `loss` and `output` are those before it.

    `grad_norm` is None where the gradient's length was not measured.
    """

    batch: Any
    output: Tensor
    loss: Float[Tensor, ""]
    grad_norm: Float[Tensor, ""] | None
    learning_rate: float

    @property
    def logits(self) -> Tensor:
        return self.output


class BaseSession(ABC):
    """One run, a step at a time. Step n is the state after n updates.

    `state` and `restore` carry everything that decides what comes next, so that a restored session goes on bit
    for bit as the first would have (on the same CPU, with as many threads).
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: TrainConfig | ShelfTrainConfig,
        device: torch.device,
    ):
        self.model, self.optimizer, self.schedule, self.device = model, optimizer, schedule, device
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.step = 0
        self.stopped_early = False
        self.started = time.perf_counter()

    @abstractmethod
    def compute(self) -> tuple[Any, Tensor, Float[Tensor, ""]]:
        """The next batch, the model's output for it, and its loss."""

    @abstractmethod
    def update_values(self, update: Update) -> Record:
        """What a line of metrics says of an update's batch."""

    @abstractmethod
    def evaluate(self) -> Record:
        """What a line of metrics says of held-out data."""

    @abstractmethod
    def progress(self) -> Record:
        """How much has been read by now, for a line of metrics."""

    @abstractmethod
    def files(self) -> dict[str, bytes]:
        """The model as the files of a checkpoint, in the order in which they should be written."""

    @property
    def finished(self) -> bool:
        return self.stopped_early or self.step >= self.schedule.steps

    @property
    def seconds(self) -> float:
        """Time spent training, those of earlier processes included."""
        return time.perf_counter() - self.started

    def advance(self) -> Update:
        """One update of the weights; `TrainingDiverged` instead of an update that would spoil them.

        On a GPU nothing waits for the loss here: there NaN and inf are found by `record` and `check_weights`.
        """
        rate = learning_rate(self.step, self.schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        batch, output, loss = self.compute()
        for parameter in self.parameters:
            parameter.grad = None
        loss.backward()
        update = Update(batch, output.detach(), loss.detach(), self.limit_gradient(), rate)
        if self.device.type == "cpu":
            self.check_update(update)
        self.optimizer.step()
        self.step += 1
        return update

    def limit_gradient(self) -> Float[Tensor, ""] | None:
        """The gradient's length, after which it is no longer than it may be."""
        longest = math.inf if self.schedule.grad_clip is None else self.schedule.grad_clip
        return torch.nn.utils.clip_grad_norm_(self.parameters, longest, foreach=True)

    def record(self, update: Update | None) -> Record:
        """One line of metrics: the update's values, before it, and, where due, those on held-out data, after it."""
        values: Record = {"step": self.step}
        if update is not None:
            self.check_update(update)
            values |= self.update_values(update)
            values["learning_rate"] = update.learning_rate
            if update.grad_norm is not None:
                values["grad_norm"] = update.grad_norm.item()
        values |= {**self.progress(), "seconds": round(self.seconds, 3)}
        if is_evaluated(self.step, self.schedule):
            values |= self.evaluate()
        return {name: value for name, value in values.items() if value is not None}

    def check_update(self, update: Update) -> None:
        """`TrainingDiverged` if the loss or the gradient is NaN or infinite."""
        for what, value in (("the loss", update.loss), ("the gradient", update.grad_norm)):
            if value is not None and not math.isfinite(value.item()):
                raise self.diverged(what, value.item())

    def check_weights(self) -> None:
        """`TrainingDiverged` if a weight is NaN or infinite."""
        try:
            check_finite(self.model.state_dict())
        except InputError as error:
            raise self.diverged(str(error).split(" holds ")[0], math.nan) from error

    def diverged(self, what: str, value: float) -> TrainingDiverged:
        c = self.schedule
        advice = f"lower learning_rate ({c.learning_rate}), raise warmup_steps ({c.warmup_steps}) or clip gradients"
        return TrainingDiverged(self.step, f"{what} became {value} after {self.step} updates: {advice}")

    def state(self) -> dict[str, Any]:
        """All that `restore` needs besides the weights: tensors, and values with a JSON form."""
        return {
            **optimizer_tensors(self.model, self.optimizer),
            **self.own_state(),
            "step": self.step,
            "stopped_early": self.stopped_early,
            "seconds": self.seconds,
        }

    def restore(self, model: nn.Module, state: dict[str, Any]) -> None:
        """Goes back to where `state` was read; `InputError` if it is of another run, or its data have changed."""
        try:
            optimizer = {name: value for name, value in state.items() if "/" in name}
            self.restore_own(state)
            self.step, self.stopped_early = state["step"], state["stopped_early"]
            self.started = time.perf_counter() - state["seconds"]
        except (KeyError, TypeError, RuntimeError) as error:
            raise InputError(f"this is not the state of a training run: {error!r}") from error
        if getattr(model, "config", None) != getattr(self.model, "config", None):
            raise InputError("the checkpoint's model has another config than the run's")
        self.model.load_state_dict(model.state_dict())
        restore_optimizer(self.model, self.optimizer, optimizer)

    @abstractmethod
    def own_state(self) -> dict[str, Any]:
        """What only this kind of session remembers."""

    @abstractmethod
    def restore_own(self, state: dict[str, Any]) -> None:
        """Takes `own_state` back; `InputError` if it is of another run, `KeyError` where something is missing."""

    @abstractmethod
    def summary(self) -> dict[str, Any]:
        """How the run ended: `result` in run.json."""
