"""Minibatches against single examples: how good their gradients are, what they cost, and what they bring."""

import math
import time

import torch
import torch.nn.functional as F

from analyses.claims.claim import Arm, Claim, Comparison, Picture, Row
from analyses.claims.experiments.vector_training import accuracy, fit, scaled, split_digits
from interp.units import flat_gradient, gradient_noise, minibatch_gradients
from toy_models.mlp import MLP
from toy_models.training.seeds import generator_for
from toy_models.vector_config import MLPConfig
from toy_models.vision.data import LabelledImages

SIZES = (1, 4, 16, 64, 256)
RATES = {1: (0.01, 0.03, 0.1), 64: (0.1, 0.3, 1.0)}
"""Learning rates tried for single examples, and for minibatches of 64."""
EXAMPLES = 1472
"""23 minibatches of 64: about one pass through the data."""


def gradients(seed: int, device: str, budget: float) -> Row:
    """A net of two layers after 100 updates: "cosine, b" with the full gradient and "seconds, b" per example.

    64 minibatches of each size, drawn with replacement; the time is the processor's, of the fastest of several passes
    forwards and back.
    """
    training, _ = split_digits(seed, 1437, device)
    model = MLP(MLPConfig(), generator_for(seed, "weights")).to(device)
    fit(model, training, steps=scaled(100, budget), lr=0.1, seed=seed)
    full = flat_gradient(model, training.images, training.labels, F.cross_entropy)
    generator = generator_for(seed, "minibatches")
    row: Row = {"batch": [float(b) for b in SIZES]}
    cosines, costs = [], []
    for b in SIZES:
        indices = torch.randint(len(training), (64, b), generator=generator)
        found = minibatch_gradients(model, training.images, training.labels, F.cross_entropy, indices)
        cosines.append(gradient_noise(found, full).cosine.mean)
        part = training.take(indices[0].to(device))
        costs.append(min(seconds(model, part) for _ in range(scaled(30, budget))) / b)
        row |= {f"cosine, {b}": cosines[-1], f"seconds, {b}": costs[-1]}
    return row | {"cosine": cosines, "seconds per example": costs}


def seconds(model: MLP, data: LabelledImages) -> float:
    """Processor time of one pass forwards and back."""
    began = time.process_time()
    F.cross_entropy(model(data.images), data.labels).backward()
    return time.process_time() - began


def one_pass(seed: int, device: str, budget: float, batch: int) -> Row:
    """Test accuracy after 1,472 examples in batches of this size, at the best of three learning rates."""
    training, test = split_digits(seed, 1437, device)
    scores = []
    for lr in RATES[batch]:
        model = MLP(MLPConfig(), generator_for(seed, "weights")).to(device)
        fit(model, training, steps=scaled(EXAMPLES // batch, budget), lr=lr, seed=seed, batch=batch)
        scores.append(accuracy(model, test))
    return {"accuracy": max(scores), "accuracy by rate": scores, "rate": list(RATES[batch])}


CLAIMS = (
    Claim(
        name="minibatches-beat-single-examples",
        numbers=(25,),
        statement="The gradient of a minibatch is a better estimate than that of one example, and cheaper per example.",
        source="Ioffe & Szegedy 2015, Batch Normalization, arXiv:1502.03167, section 1",
        arms={
            "gradients": Arm(gradients),
            "batches of 64": Arm(one_pass, {"batch": 64}),
            "single examples": Arm(one_pass, {"batch": 1}),
        },
        comparisons=(
            Comparison(
                "the direction of a gradient", "cosine with the full gradient", "cosine, 64", "gradients", "gradients",
                "greater", 0.1, control_value="cosine, 1",
            ),
            Comparison(
                "processor time per example", "seconds", "seconds, 1", "gradients", "gradients", "greater", math.log(4),
                control_value="seconds, 64", scale="log ratio",
            ),
            Comparison(
                "what a pass through the data brings", "test accuracy", "accuracy", "batches of 64", "single examples",
                "greater", 0.02, resolution=1 / 360,
            ),
        ),
        why="Single examples of the same data, at the same weights; for a pass through the data, each size with the "
        "best of three rates, since single examples make 64 times as many updates with it.",
        picture=Picture("cosine", "cosine with the full gradient", "batch", "examples in a batch", log_x=True),
        slip="Cheaper per example and better per update; per example seen, many small updates bring more than a few "
        "good ones.",
    ),
)  # fmt: skip
