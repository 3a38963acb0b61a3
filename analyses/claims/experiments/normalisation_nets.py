"""Nets of five layers with and without normalisation, and with noise after it: how they train, shift and saturate."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analyses.claims.claim import Row
from analyses.claims.experiments.vector_training import accuracy, fit, scaled, split_digits
from interp.hooks import intervene
from interp.units import drift, gradient_norms, unit_moments, unit_responses
from toy_models.layer_kinds import ActivationKind, NormKind
from toy_models.layers.population import with_population_statistics
from toy_models.mlp import MLP
from toy_models.training.seeds import generator_for
from toy_models.vector_config import MLPConfig
from toy_models.vision.data import LabelledImages

WIDTHS = (64,) * 5
STEPS, EPOCH, EVERY = 440, 22, 5
"""Updates in all, between two looks at the layers, and between two at the accuracy."""
ENOUGH = 0.9


def five_layers(
    seed: int,
    device: str,
    budget: float,
    activation: ActivationKind,
    norm: NormKind = "none",
    lr: float = 1.0,
    init_scale: float = 1.0,
    noise: float = 0.0,
) -> Row:
    """Digits classified by five layers of 64 units, trained by SGD on batches of 64; see `Watch` for what is measured.

    "saturated at first" is the share of activations within 5 % of an end of their range before training, normalised by
    the statistics of these images; "gradient ratio" the norm of the first weights' gradient over that of the last.
    """
    training, test = split_digits(seed, 1437, device)
    config = MLPConfig(widths=WIDTHS, activation=activation, norm=norm, init_scale=init_scale)
    model = MLP(config, generator_for(seed, "weights")).to(device)
    probe = training.take(torch.arange(0, len(training), 3, device=device))
    row = start(model, probe, activation, seed)
    watch = Watch(model, probe, test, budget)
    with noise_after_norm(model, noise, generator_for(seed, "noise")):
        fit(model, training, steps=watch.steps, lr=lr, seed=seed, after=watch)
    return row | watch.row()


def start(model: MLP, probe: LabelledImages, activation: ActivationKind, seed: int) -> Row:
    """What is to be seen before the first update."""
    ratio = gradient_norms(model.train(), probe.images, probe.labels, F.cross_entropy).first_to_last.mean
    row: Row = {"gradient ratio": ratio}
    if activation == "sigmoid":
        settled = with_population_statistics(model, probe.images)
        found = unit_responses(settled, probe.images, generator_for(seed, "bootstrap"), ranges={"*": (0.0, 1.0)})
        shares = [each.saturated_share or 0.0 for each in found.values()]
        row["saturated at first"] = sum(shares) / len(shares)
    return row


class Watch:
    """Called after every update: accuracy on test images by step, and how far layers move.

    "accuracy" is the last one; "average accuracy" their mean, a measure of speed; "steps to 90 %" the first step with
    an accuracy of 0.9 (the last if there is none). "drift" is the mean over layers and passes through the data of
    `interp.units.drift`; "drift of one update" the same for the last update of each pass alone. Both are in training
    mode, as the layers above see them, and left out where values are not finite.
    """

    def __init__(self, model: MLP, probe: LabelledImages, test: LabelledImages, budget: float):
        self.model, self.probe, self.test = model, probe, test
        self.steps = scaled(STEPS, budget)
        self.look = min(EPOCH, self.steps)
        self.accuracies: dict[int, float] = {}
        self.drifts: dict[str, list[list[float]]] = {"drift": [], "drift of one update": []}
        self.last_look = self.last_step = unit_moments(model.train(), probe.images)

    def __call__(self, step: int) -> None:
        if step % EVERY == 0 or step == self.steps:
            self.accuracies[step] = accuracy(self.model, self.test)
        if (step + 1) % self.look and step % self.look:
            return
        now = unit_moments(self.model.train(), self.probe.images)
        if step % self.look == 0:
            self.drifts["drift"].append(list(drift(self.last_look, now).values()))
            self.drifts["drift of one update"].append(list(drift(self.last_step, now).values()))
            self.last_look = now
        self.last_step = now

    def row(self) -> Row:
        last = accuracy(self.model, self.test)
        scores = list(self.accuracies.values()) or [last]
        enough = (step for step, score in self.accuracies.items() if score >= ENOUGH)
        row: Row = {
            "accuracy": last,
            "steps to 90 %": float(next(enough, self.steps)),
            "average accuracy": sum(scores) / len(scores),
            "step": [float(step) for step in self.accuracies],
            "accuracy by step": list(self.accuracies.values()),
        }
        for name, looks in self.drifts.items():
            found = torch.tensor(looks, dtype=torch.float64)
            if found.numel() and bool(found.isfinite().all()):
                row |= {name: float(found.mean()), f"{name} by layer": found.mean(0).tolist()}
                row["layer"] = [float(i + 1) for i in range(found.shape[1])]
        return row


@contextmanager
def noise_after_norm(model: nn.Module, size: float, generator: torch.Generator) -> Iterator[None]:
    """In training mode every unit's normalised value is scaled and shifted at random, anew in each step.

    y * exp(size a) + size b with a and b standard normal, the same for all inputs of a step, so that the distributions
    that normalisation made equal differ again (Santurkar et al. 2018, arXiv:1805.11604).
    """
    if size == 0:
        yield
        return
    with intervene(model, {"blocks.*.hook_norm": jolt(model, size, generator)}, allow_batchnorm_training=True):
        yield


def jolt(model: nn.Module, size: float, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    def edit(value: Tensor) -> Tensor:
        if not model.training:
            return value
        scale, shift = (size * torch.randn(value.shape[1], generator=generator).to(value) for _ in range(2))
        return value * scale.exp() + shift

    return edit
