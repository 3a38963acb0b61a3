"""Inputs with what a model should make of them, batches of them, and what every objective says."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from toy_models.errors import InputError
from toy_models.training.seeds import generator_for

CHUNK = 2**18
"""Numbers of input that are run at once when a model is measured."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Inputs [n ...], and for each what the output is compared with."""

    inputs: Float[Tensor, "n *any"]
    targets: Shaped[Tensor, "n *other"]

    def __len__(self) -> int:
        return len(self.inputs)

    def to(self, device: torch.device) -> "Examples":
        return Examples(self.inputs.to(device), self.targets.to(device))


@runtime_checkable
class Source(Protocol):
    """Batches, one for each step."""

    def draw(self, step: int) -> Examples:
        """The batch of the update that is made after `step` updates."""

    def state(self) -> dict[str, Tensor]:
        """What decides later batches, besides the step."""

    def restore(self, state: dict[str, Tensor]) -> None:
        """Goes back to a `state`."""


class Epochs:
    """Full batches of a training set, every epoch in a new order that seed and epoch alone decide.

    What is left over at the end of an epoch is left out of it. A batch of the whole set keeps the set's order.
    """

    def __init__(self, examples: Examples, size: int, seed: int):
        if size > len(examples):
            raise InputError(f"a batch of {size} is more than the {len(examples)} training examples")
        self.examples, self.size, self.seed = examples, size, seed
        self.per_epoch = len(examples) // size
        self.epoch = -1

    def draw(self, step: int) -> Examples:
        if self.size == len(self.examples):
            return self.examples
        epoch, place = divmod(step, self.per_epoch)
        if epoch != self.epoch:
            generator = generator_for(self.seed, f"order of epoch {epoch}")
            order = torch.randperm(len(self.examples), generator=generator)
            self.epoch, self.batches = epoch, order.to(self.examples.inputs.device).split(self.size)
        index = self.batches[place]
        return Examples(self.examples.inputs[index], self.examples.targets[index])

    def state(self) -> dict[str, Tensor]:
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Nothing: the step decides all."""


class Objective(ABC):
    """Which examples a model is trained on, its loss, and what is measured; `held_out` examples are never trained on.

    `n_train` is the number of training examples, None where each batch is drawn anew.
    """

    held_out: Examples
    n_train: int | None

    @abstractmethod
    def source(self, batch_size: int, seed: int, device: torch.device) -> Source:
        """Batches for a run."""

    @abstractmethod
    def loss(self, output: Tensor, targets: Tensor) -> Float[Tensor, ""]:
        """What is made small: a mean over the batch."""

    @abstractmethod
    def scores(self, output: Tensor, targets: Tensor) -> dict[str, Float[Tensor, " n"]]:
        """What is measured of each example; among it its share of the loss, as "loss"."""

    @abstractmethod
    def chance(self) -> dict[str, float]:
        """The `scores` on held-out examples of the best constant output that training data can name."""

    def examples(self, part: str) -> Examples:
        """ "training" or "held-out" examples; `InputError` for training examples where each batch is drawn anew."""
        if part != "held-out":
            raise InputError(f"there are no {part} examples to measure on: each batch is drawn anew")
        return self.held_out

    def measure(self, model: nn.Module, part: str = "held-out") -> dict[str, float]:
        """Mean `scores` of a model in evaluation mode, on "held-out" or "training" examples."""
        return measure(model, self, self.examples(part))

    def fingerprint(self) -> str:
        """SHA-256 of the held-out examples, by which a resumed run knows that its data are those it began with."""
        digest = hashlib.sha256()
        for tensor in (self.held_out.inputs, self.held_out.targets):
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def measure(model: nn.Module, objective: Objective, examples: Examples) -> dict[str, float]:
    """Mean scores of a model in evaluation mode; each module is left in the mode it was in."""
    return {name: each.double().mean().item() for name, each in score_each(model, objective, examples).items()}


@torch.no_grad()
def score_each(model: nn.Module, objective: Objective, examples: Examples) -> dict[str, Float[Tensor, " n"]]:
    """Scores of each example by a model in evaluation mode, on the CPU."""
    parts: dict[str, list[Tensor]] = {}
    with evaluating(model):
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        size = max(1, CHUNK // examples.inputs[0].numel())
        for inputs, targets in zip(examples.inputs.split(size), examples.targets.split(size), strict=True):
            for name, each in objective.scores(model(inputs.to(device)), targets.to(device)).items():
                parts.setdefault(name, []).append(each.cpu())
    return {name: torch.cat(each) for name, each in parts.items()}


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Inside, the model is in evaluation mode."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
