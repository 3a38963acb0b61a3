"""The models that are trained, each from a seed of its own: widths, heads, position kinds, and some that never learn.

Those that learn: two layers (some three) of 2 to 8 heads, 16 to 64 wide, and one layer whose keys are smeared. Those
that do not: one layer without smearing, which cannot look one token further than a match, and runs that are stopped
before anything has formed. The tasks are small, so that a model trains in 5 to 20 s of one core.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Literal

from toy_models.config import Positions, TransformerConfig, to_dict
from toy_models.task_config import RepeatedTokensConfig
from toy_models.train_config import RunConfig, TrainConfig

Kind = Literal["trained", "stopped early", "one layer"]

TASKS = {
    "24 tokens": RepeatedTokensConfig(d_vocab=24, n_ctx=32, min_period=4, max_period=11, max_offset=3),
    "32 tokens": RepeatedTokensConfig(d_vocab=32, n_ctx=40, min_period=5, max_period=14, max_offset=4),
    "40 tokens": RepeatedTokensConfig(d_vocab=40, n_ctx=48, min_period=6, max_period=16, max_offset=5),
}
LEARNING_RATES = {16: 0.02, 24: 0.015, 32: 0.01, 48: 0.01, 64: 0.007}
"""By width; higher ones than the defaults, since the models are narrower."""
FIRST_SEED = 5000
LATER = {"attention_dir": "causal"}
"""Options of models that did not exist when the stored models were trained, with the value that changes nothing."""
EARLY = 60
"""Updates of a run that is stopped early."""

TWO_LAYERS: tuple[tuple[int, int, str], ...] = (
    (16, 4, "24 tokens"),
    (16, 6, "24 tokens"),
    (24, 3, "32 tokens"),
    (24, 4, "24 tokens"),
    (32, 2, "24 tokens"),
    (32, 4, "24 tokens"),
    (32, 5, "32 tokens"),
    (32, 8, "24 tokens"),
    (48, 4, "40 tokens"),
    (48, 6, "24 tokens"),
    (64, 4, "24 tokens"),
    (64, 8, "32 tokens"),
)
"""Width, heads in each layer, task."""
THREE_LAYERS: tuple[tuple[int, int, str], ...] = ((32, 3, "24 tokens"),)
SMEARED: tuple[tuple[int, int, str], ...] = ((16, 4, "24 tokens"), (32, 6, "24 tokens"), (48, 8, "24 tokens"))
"""One layer, keys smeared."""
ONE_LAYER: tuple[tuple[int, int, str], ...] = ((32, 4, "24 tokens"), (24, 6, "24 tokens"))
STOPPED: tuple[tuple[int, int, str], ...] = ((32, 4, "24 tokens"), (48, 6, "24 tokens"))
POSITIONS: tuple[Positions, ...] = ("standard", "shortformer", "rotary")
SLOW = {("rotary", 48, 4), ("rotary", 64, 8)}
"""Positions, width and heads of what would train longest, and is left out."""


@dataclass(frozen=True)
class Case:
    """One model: how it is trained, and whether it is meant to learn the task."""

    name: str
    kind: Kind
    run: RunConfig

    @property
    def seed(self) -> int:
        return self.run.train.seed

    @property
    def positions(self) -> str:
        """The kind of positions, and whether keys are smeared."""
        return self.run.model.positions + (", smeared keys" if self.run.model.smeared_keys else "")

    @property
    def digest(self) -> str:
        """Changes with anything that decides the weights; options that came later count only where they are used."""
        run = to_dict(self.run)
        run["model"] = {name: value for name, value in run["model"].items() if (name, value) not in LATER.items()}
        return hashlib.sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()[:12]


def all_cases() -> tuple[Case, ...]:
    """Every case, each with a seed of its own, from `FIRST_SEED` on."""
    drafts = [
        *(_draft("trained", p, *shape) for p in POSITIONS for shape in TWO_LAYERS),
        *(_draft("trained", p, *shape, n_layers=3) for p in POSITIONS for shape in THREE_LAYERS),
        *(_draft("trained", p, *shape, n_layers=1, smeared=True) for p in POSITIONS for shape in SMEARED),
        *(_draft("one layer", p, *shape, n_layers=1) for p in POSITIONS for shape in ONE_LAYER),
        *(_draft("stopped early", p, *shape, steps=EARLY) for p in POSITIONS for shape in STOPPED),
    ]
    numbered = [_with_seed(draft, FIRST_SEED + i) for i, draft in enumerate(drafts)]
    return tuple(case for case in numbered if _shape(case) not in SLOW)


def _shape(case: Case) -> tuple[str, int, int]:
    model = case.run.model
    return model.positions, model.d_model, model.n_heads


def _draft(
    kind: Kind,
    positions: Positions,
    d_model: int,
    n_heads: int,
    task: str,
    n_layers: int = 2,
    smeared: bool = False,
    steps: int = 1200,
) -> Case:
    tokens = TASKS[task]
    model = TransformerConfig(
        n_layers=n_layers,
        n_heads=n_heads,
        d_model=d_model,
        d_head=max(8, d_model // 4),
        d_vocab=tokens.d_vocab,
        n_ctx=tokens.n_ctx,
        positions=positions,
        smeared_keys=smeared,
    )
    train = TrainConfig(
        steps=steps,
        batch_size=48,
        learning_rate=LEARNING_RATES[d_model],
        stop_margin=0.12,
        log_every=25,
        device="cpu",
    )
    suffix = " smeared" if smeared else ""
    return Case(f"{positions}{suffix} {n_layers}x{n_heads} d{d_model}", kind, RunConfig(model, tokens, train))


def _with_seed(case: Case, seed: int) -> Case:
    return replace(
        case, name=f"{case.name} seed {seed}", run=replace(case.run, train=replace(case.run.train, seed=seed))
    )
