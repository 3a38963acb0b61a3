"""Which models the audit is tried on: independent draws, each from its own seed, with a circuit or without one.

A draw sets the kind of model, its vocabulary and context, how sharply it attends and how strongly it writes, a random
orthonormal basis of the residual stream (so the embeddings' directions too), and how much noise is on its weights.
Kinds and noise levels go round in turn, so that every kind meets every level in both halves.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

Group = Literal["circuit", "no induction"]
Half = Literal["choosing", "reporting"]
Kind = tuple[str, dict[str, Any]]
LEVELS = (0.0, 0.3, 0.6, 0.9, 1.2, 1.6, 2.4)
"""Noise, in units of the noise at which the model loses 5 % of its own accuracy."""

CIRCUITS: tuple[Kind, ...] = (
    *[("induction_k", {})] * 4,
    *[("induction_q", {})] * 4,
    *[("induction_both", {})] * 2,
    ("induction_shared", {"share": "strength"}),
    ("induction_shared", {"share": "tokens"}),
    *[("induction_smeared", {})] * 3,
    ("previous_token", {}),
    ("duplicate_token", {}),
    ("current_token", {}),
    ("first_token_sink", {}),
    ("shift_by", {}),
    ("two_back", {}),
    ("three_layer_chain", {}),
    ("copy_suppression", {}),
)
"""Handmade models that do something."""

NO_INDUCTION: tuple[Kind, ...] = (
    *[("untrained", {})] * 4,
    *[("random_weights", {})] * 4,
    *[("positional", {})] * 4,
    ("unread_previous_token", {}),
    ("no_copy", {"writes": "another token"}),
    ("no_copy", {"writes": "nothing"}),
    ("anti_copying", {}),
    ("literal_previous", {}),
    ("literal_current", {}),
    ("skip_trigram", {}),
)
"""Models none of whose heads is an induction head: random weights, and decoys that share a feature with induction."""


@dataclass(frozen=True)
class Draw:
    """One model to try: everything else about it follows from `seed`."""

    index: int
    group: Group
    half: Half
    name: str
    options: tuple[tuple[str, Any], ...]
    level: float
    """One of LEVELS."""
    layers: int
    """Of a model with random weights."""
    seed: int

    def generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)


def draw_models(circuits: int, without: int, seed: int) -> tuple[Draw, ...]:
    """`circuits` models with a known circuit, then `without` ones without induction; halves and levels alternate."""
    groups: tuple[tuple[Group, Sequence[Kind], int], ...] = (
        ("circuit", CIRCUITS, circuits),
        ("no induction", NO_INDUCTION, without),
    )
    draws: list[Draw] = []
    for group, kinds, n in groups:
        rounds = ((turn, at, kind) for turn in itertools.count() for at, kind in enumerate(kinds))
        for turn, at, (name, options) in itertools.islice(rounds, n):
            level = LEVELS[(turn + at) % len(LEVELS)]
            half: Half = "choosing" if (turn + at // len(LEVELS)) % 2 else "reporting"
            draws.append(
                Draw(
                    index=len(draws),
                    group=group,
                    half=half,
                    name=name,
                    options=tuple(options.items()),
                    level=level,
                    layers=1 + (turn + at) % 4,
                    seed=1_000_003 * seed + len(draws),
                )
            )
    return tuple(draws)
