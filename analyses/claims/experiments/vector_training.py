"""Digits, a plain training loop and its seeds: what the arms of the normalisation and dropout claims share."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toy_models.training.seeds import generator_for, seed_for
from toy_models.vision.data import LabelledImages, digits

Data = tuple[LabelledImages, LabelledImages]
"""(training, test)"""


def split_digits(seed: int, n_train: int, device: str) -> Data:
    """Digits with about `n_train` of the 1,797 to train on, as many of each class, and the rest as test."""
    images = _digits()
    training, test = images.split(1 - n_train / len(images), generator_for(seed, "split"))
    return _moved(training, device), _moved(test, device)


def fit(
    model: nn.Module,
    data: LabelledImages,
    *,
    steps: int,
    lr: float,
    seed: int,
    batch: int = 64,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    before_update: Callable[[], None] | None = None,
    after: Callable[[int], None] | None = None,
) -> nn.Module:
    """Cross-entropy by stochastic gradient descent, batches drawn with replacement; the order of data is the seed's.

    `before_update` may change gradients, `after(step)` measures. Ends in evaluation mode, early where the loss is no
    longer finite. Dropout masks follow the seed too; torch's default generator is left as it was.
    """
    optimiser = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay)
    order = generator_for(seed, "batches")
    with own_default_generator(seed_for(seed, "masks")):
        for step in range(1, steps + 1):
            chosen = torch.randint(len(data), (batch,), generator=order).to(data.labels.device)
            loss = F.cross_entropy(model.train()(data.images[chosen]), data.labels[chosen])
            if not bool(loss.isfinite()):
                break
            optimiser.zero_grad()
            loss.backward()
            if before_update is not None:
                before_update()
            optimiser.step()
            if after is not None:
                after(step)
    return model.eval()


@torch.no_grad()
def predictions(model: nn.Module, data: LabelledImages) -> Tensor:
    """Probabilities [n class] in evaluation mode; the model's mode is left as it was."""
    training = model.training
    found = model.eval()(data.images).softmax(-1)
    model.train(training)
    return found


def accuracy(model: nn.Module, data: LabelledImages) -> float:
    """Share of images whose likeliest class is the right one, in evaluation mode."""
    return float((predictions(model, data).argmax(-1) == data.labels).double().mean())


def scaled(steps: int, budget: float) -> int:
    """That share of the steps, one at least."""
    return max(1, round(steps * budget))


@contextmanager
def own_default_generator(seed: int) -> Iterator[None]:
    """Torch's default generator starts from the seed in here, and is as it was afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@cache
def _digits() -> LabelledImages:
    return digits()


def _moved(data: LabelledImages, device: str) -> LabelledImages:
    return LabelledImages(data.images.to(device), data.labels.to(device), data.classes, data.source)
