"""From a draw to its model: made by hand or at random, in a random orthonormal basis, with noise of known effect."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from analyses.calibration.draws import Draw
from interp.heads.stimuli import olsson_protocol
from toy_models.config import TransformerConfig
from toy_models.handmade import Handmade, Size, make
from toy_models.handmade.controls import control
from toy_models.handmade.model import NO_ANSWER
from toy_models.handmade.transforms import add_noise, change_basis
from toy_models.transformer import Transformer

KEPT = 0.95
"""Share of its accuracy that a model must keep for its heads to count as easy cases."""
FIRST_LEVEL, STEP, LAST_LEVEL = 0.005, 1.25, 6.0
"""Noise levels tried in turn until the model keeps less."""
WITHOUT_TASK = 0.2
"""Unit of noise for models that have no accuracy to lose: those that predict nothing, suppress, or (skip-trigrams)
answer one question in two ways."""
RELABELLED = 4
"""Copies of the example, each with other tokens in the same places, on which accuracy is measured."""


@dataclass(frozen=True)
class Drawn:
    """A model to audit, with its truth.

    `noise` is the scale of `add_noise`, `critical` the first scale tried at which the model keeps less than 95 % of its
    accuracy, `kept` the share it keeps at `noise`; the latter two are None for models without a task.
    """

    draw: Draw
    made: Handmade
    noise: float
    critical: float | None
    kept: float | None

    @property
    def easy(self) -> bool:
        return is_easy(self.noise, self.kept)


def is_easy(noise: float, kept: float | None) -> bool:
    """Whether the model keeps 95 % of its accuracy; without a task, whether there is no noise."""
    return noise == 0 if kept is None else kept >= KEPT


def build(draw: Draw) -> Drawn:
    """The model of a draw, without gradients; the same one every time."""
    drawn = _built(draw)
    drawn.made.model.requires_grad_(False)
    return drawn


def _built(draw: Draw) -> Drawn:
    generator = draw.generator()
    size = draw_size(generator)
    if draw.name in ("untrained", "random_weights"):
        return Drawn(draw, random_model(draw, size, generator), 0.0, None, None)
    options = dict(draw.options) | draw_options(draw.name, size, generator)
    made = make(draw.name, **dataclasses.asdict(size), **options)
    clean = change_basis(made.model, generator, rotation=True)
    noise_seed = int(torch.randint(2**31, (), generator=generator))

    def noisy(scale: float) -> Transformer:
        return add_noise(clean, scale, torch.Generator().manual_seed(noise_seed))

    if draw.name == "skip_trigram" or not bool((made.answers != NO_ANSWER).any()):
        noise = draw.level * WITHOUT_TASK
        return Drawn(draw, dataclasses.replace(made, model=noisy(noise)), noise, None, None)
    tokens, answers = own_task(made, clean, generator)

    def kept(scale: float) -> float:
        return accuracy(noisy(scale), tokens, answers)

    critical = FIRST_LEVEL
    while critical < LAST_LEVEL and kept(critical) >= KEPT:
        critical *= STEP
    noise = draw.level * critical
    return Drawn(draw, dataclasses.replace(made, model=noisy(noise)), noise, critical, kept(noise))


def draw_size(generator: torch.Generator) -> Size:
    """10 to 24 tokens, 24 to 44 positions, matches that score 20 to 60, and logits of 8 to 16 (log-uniform)."""
    d_vocab = int(torch.randint(10, 25, (), generator=generator))
    n_ctx = int(torch.randint(24, 45, (), generator=generator))
    return Size(d_vocab, n_ctx, log_uniform(20.0, 60.0, generator), log_uniform(8.0, 16.0, generator), torch.float32)


def log_uniform(low: float, high: float, generator: torch.Generator) -> float:
    return low * (high / low) ** float(torch.rand((), generator=generator, dtype=torch.float64))


def draw_options(name: str, size: Size, generator: torch.Generator) -> dict[str, Any]:
    """Distances are drawn; every other positional decoy has the period that the audit itself tries first."""
    if name == "shift_by":
        return {"by": int(torch.randint(2, size.period - 1, (), generator=generator))}
    if name == "positional":
        periods = range(3, size.period + 1)
        period = periods[int(torch.randint(len(periods), (), generator=generator))]
        audited = olsson_protocol(size.d_vocab, size.n_ctx, 0).period
        same = bool(torch.randint(2, (), generator=generator)) and audited in periods
        return {"period": audited if same else period}
    return {}


def random_model(draw: Draw, size: Size, generator: torch.Generator) -> Handmade:
    """A transformer of drawn shape as before training, or ("random_weights") with attention 1 to 8 times as strong."""

    def pick(*choices: Any) -> Any:
        return choices[int(torch.randint(len(choices), (), generator=generator))]

    config = TransformerConfig(
        n_layers=draw.layers,
        n_heads=pick(1, 2, 3, 4),
        d_model=pick(16, 32, 48),
        d_head=pick(8, 16),
        d_vocab=size.d_vocab,
        n_ctx=size.n_ctx,
        positions=pick("standard", "shortformer", "rotary", "none"),
        normalization=pick("none", "LN"),
        biases=pick(True, False),
    )
    model = Transformer(config, generator).to(size.dtype)
    if draw.name == "random_weights":
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if name.rsplit(".", 1)[-1] in ("W_Q", "W_K", "W_V", "W_O"):
                    weight.mul_(log_uniform(1.0, 8.0, generator))
    return control(draw.name, f"Random weights, {draw.layers} layers.", model, size)


@torch.no_grad()
def own_task(
    made: Handmade, clean: Transformer, generator: torch.Generator
) -> tuple[Int[Tensor, "batch pos"], Int[Tensor, "batch pos"]]:
    """Sequences like the model's example, and what it answers there without noise.

    Other tokens (all but the first) are put in the same places; since the clean model answers the example as its truth
    says, it is asked.
    """
    places = made.answers != NO_ANSWER
    said = clean(made.example_tokens).argmax(-1)
    assert bool((said == made.answers)[places].all()), f"{made.truth.name} does not do its own task"
    d_vocab, copies = made.model.config.d_vocab, []
    for _ in range(RELABELLED):
        order = torch.cat([torch.zeros(1, dtype=torch.long), 1 + torch.randperm(d_vocab - 1, generator=generator)])
        copies.append(order[made.example_tokens])
    tokens = torch.cat(copies)
    answers = clean(tokens).argmax(-1).masked_fill(~places.repeat(RELABELLED, 1), NO_ANSWER)
    return tokens, answers


@torch.no_grad()
def accuracy(model: Transformer, tokens: Int[Tensor, "batch pos"], answers: Int[Tensor, "batch pos"]) -> float:
    """Share of the answered positions at which the model says the answer."""
    places = answers != NO_ANSWER
    return float((model(tokens).argmax(-1) == answers)[places].double().mean())
