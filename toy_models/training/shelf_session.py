"""A training run, in memory, of any module on an objective: what the models of the shelf are trained by."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from toy_models.errors import InputError
from toy_models.shelf_checkpoint import shelf_model_files
from toy_models.shelf_config import ShelfRunConfig, ShelfTrainConfig
from toy_models.training.base_session import BaseSession, Update
from toy_models.training.metrics_log import Record
from toy_models.training.objectives import Examples, Objective
from toy_models.training.schedule import is_logged
from toy_models.training.seeds import generator_for
from toy_models.training.shelf_optimizer import make_shelf_optimizer
from toy_models.weights_file import model_hash


class ShelfSession(BaseSession):
    """One run of a model on an objective; parameters that need no gradient stay as they are.

    What dropout draws from torch's default generator on the CPU comes from a stream of this run's own, which is part
    of the state; the generator itself is left as it was. The gradient's length is measured where it is limited, and
    at logged steps.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        config: ShelfTrainConfig,
        device: torch.device,
        run: ShelfRunConfig | None = None,
    ):
        self.objective, self.run = objective, run
        super().__init__(model.to(device).train(), make_shelf_optimizer(model, config), config, device)
        self.source = objective.source(config.batch_size, config.seed, device)
        self.noise = self.first_noise()
        self.measured: dict[str, float] = {}  # on held-out examples, last

    def first_noise(self) -> Tensor:
        """The state of torch's default generator that dropout begins with."""
        return generator_for(self.schedule.seed, "dropout").get_state()

    def compute(self) -> tuple[Examples, Tensor, Float[Tensor, ""]]:
        batch = self.source.draw(self.step)
        with self.own_noise():
            output = self.model(batch.inputs)
        return batch, output, self.objective.loss(output, batch.targets)

    @contextmanager
    def own_noise(self) -> Iterator[None]:
        """Inside, torch's default generator on the CPU gives this run's stream."""
        before = torch.get_rng_state()
        torch.set_rng_state(self.noise)
        try:
            yield
        finally:
            self.noise = torch.get_rng_state()
            torch.set_rng_state(before)

    def limit_gradient(self) -> Float[Tensor, ""] | None:
        if self.schedule.grad_clip is not None:
            return super().limit_gradient()
        if not is_logged(self.step + 1, self.schedule):
            return None
        return torch.nn.utils.get_total_norm([p.grad for p in self.parameters if p.grad is not None])

    def update_values(self, update: Update) -> Record:
        """Loss, accuracy and so on of the update's batch, in training mode, before it."""
        scores = self.objective.scores(update.output, update.batch.targets)
        return {name: each.double().mean().item() for name, each in scores.items()}

    def progress(self) -> Record:
        read = self.step * self.schedule.batch_size
        n = self.objective.n_train
        return {"examples": read, "epoch": None if n is None else round(self.step / (n // self.schedule.batch_size), 4)}

    def evaluate(self) -> Record:
        """The same on held-out examples, in evaluation mode."""
        measured = self.objective.measure(self.model)
        if not all(map(_finite, measured.values())):
            raise self.diverged("the held-out loss", measured["loss"])
        self.measured = measured
        return {f"eval_{name}": value for name, value in measured.items()}

    def own_state(self) -> dict[str, Any]:
        return {
            "noise": self.noise,
            "held_out_hash": self.objective.fingerprint(),
            "measured": self.measured,
            **self.source.state(),
        }

    def restore_own(self, state: dict[str, Any]) -> None:
        if state.get("held_out_hash") != self.objective.fingerprint():
            raise InputError("the held-out examples are others than when this run began; have its images changed?")
        self.source.restore(state)
        self.noise = torch.Generator().set_state(state["noise"]).get_state()
        self.measured = state["measured"]

    def files(self) -> dict[str, bytes]:
        assert self.run is not None
        return shelf_model_files(self.run, self.model, {"step": self.step, "measured": self.measured})

    def summary(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "measured": self.measured,
            "seconds": self.seconds,
            "device": str(self.device),
            "model_hash": model_hash(self.model),
        }


def _finite(value: float) -> bool:
    return value - value == 0
