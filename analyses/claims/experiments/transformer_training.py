"""Small transformers trained to copy repeated tokens: one run serves every claim that asks for its arm."""

from dataclasses import replace
from functools import cache

import torch

from analyses.claims.claim import Row
from analyses.claims.experiments.transformer_measures import (
    Look,
    attention_by_distance,
    compositions,
    lens_readings,
    low_rank,
    scale_effects,
)
from toy_models.config import Normalization, Positions, TransformerConfig
from toy_models.task_config import RepeatedTokensConfig
from toy_models.tasks import make_task
from toy_models.train_config import RunConfig, TrainConfig
from toy_models.training import train_in_memory
from toy_models.training.losses import evaluate
from toy_models.training.seeds import generator_for
from toy_models.training.target import Target, measure_target
from toy_models.transformer import Transformer

TASK = RepeatedTokensConfig(d_vocab=24, n_ctx=32, min_period=4, max_period=11, max_offset=3)
STEPS, RATE, BATCH = 1600, 0.01, 48
EVERY = 25
"""Steps between two looks at the held-out loss, and so the resolution of the step at which induction forms."""
LOOKED_AT = 128
"""Sequences that measures are taken on."""


def train_transformer(
    seed: int,
    device: str,
    budget: float,
    *,
    n_layers: int = 2,
    positions: Positions = "standard",
    normalization: Normalization = "none",
    smeared_keys: bool = False,
    d_mlp: int = 0,
    trained: bool = True,
) -> Row:
    """Losses on predictable tokens, the step at which induction formed, and what the claims read off the model.

    `EMERGED` (90 %) of the gap between chance and the optimum closed counts as formed; where it never is, the step is
    that of the end, so that differences between arms are too small rather than too large.
    """
    config = TransformerConfig(
        n_layers=n_layers, n_heads=4, d_model=32, d_head=8, d_vocab=TASK.d_vocab, n_ctx=TASK.n_ctx,
        positions=positions, normalization=normalization, smeared_keys=smeared_keys, d_mlp=d_mlp,
    )  # fmt: skip
    start = Transformer(config, generator_for(seed, "weights")).to(device).eval()
    task = make_task(TASK)
    sample = task.sample(LOOKED_AT, generator_for(seed, "looked at"))
    look = Look(sample.tokens.to(device), sample.predictable.to(device), generator_for(seed, "intervals"))
    steps, emerged, target = 0, None, known_losses()
    model = start
    if trained:
        steps = max(1, round(STEPS * budget))
        train = TrainConfig(
            steps=steps, batch_size=BATCH, learning_rate=RATE, warmup_steps=min(50, steps), seed=seed,
            log_every=EVERY, eval_every=EVERY, device="cuda" if device.startswith("cuda") else "cpu",
        )  # fmt: skip
        result = train_in_memory(RunConfig(config, TASK, train), task=task, target=target)
        model, emerged = result.model.eval(), result.emerged_step
    held_out = replace(sample, tokens=look.tokens, predictable=look.scored)
    loss = evaluate(model, held_out).predictable
    assert loss is not None
    assert target.order_free is not None
    row: Row = {
        "loss": loss,
        "gap closed": float(target.gap_closed(loss) or 0.0),
        "formed at": float(steps if emerged is None else emerged),
        "order-free loss": (target.order_free.lower or target.order_free.upper).mean,
    }
    with torch.no_grad():
        row |= attention_by_distance(model, start, look) | low_rank(model)
        row |= compositions(model) if n_layers > 1 else {}
        row |= lens_readings(model, look) if d_mlp and n_layers > 1 else {}
        row |= scale_effects(model, look) if normalization != "none" else {}
    return row


@cache
def known_losses() -> Target:
    """Chance, the optimum and the best reader without order; the same for every seed."""
    return measure_target(make_task(TASK), n_sequences=1024, n_order_free=64)
