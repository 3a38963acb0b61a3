"""The in-context-learning score: how much less a late token costs than an early one."""

from dataclasses import dataclass
from typing import Any

import torch

from interp.errors import InputError
from interp.in_context.positions import PositionLosses
from interp.stats import Estimate, bootstrap_interval

EARLY, LATE, LENGTH = 50, 500, 512
"""Olsson et al. 2022: the 500th token minus the 50th, of 512."""


@dataclass(frozen=True)
class InContextScore:
    """Loss at `late` minus loss at `early`, nats, paired by sequence: negative where reading more helps."""

    early: int
    late: int
    """Positions, counted from 0."""
    score: Estimate
    text: str

    def to_dict(self) -> dict[str, Any]:
        return {"early": self.early, "late": self.late, "score": self.score.to_dict(), "text": self.text}


def score_positions(length: int) -> tuple[int, int]:
    """Positions, from 0, of the early and the late token among `length`: the same shares of it as 50 and 500 of 512.

    Raises `InputError` for fewer than three tokens.
    """
    if length < 3:
        raise InputError(f"an in-context score needs 3 tokens, of which it compares two, got {length}")
    early = max(1, round(EARLY * length / LENGTH) - 1)
    return early, max(early + 1, round(LATE * length / LENGTH) - 1)


def in_context_score(
    losses: PositionLosses,
    generator: torch.Generator,
    positions: tuple[int, int] | None = None,
    level: float = 0.95,
) -> InContextScore:
    """Loss(late token) - Loss(early token), mean over sequences, with a bootstrap interval over them.

    Olsson et al. 2022, "In-context Learning and Induction Heads", take the 500th and the 50th of 512 tokens; without
    `positions` (early, late; from 0) the same shares of these sequences are taken. Below 0 the model predicts better
    late than early. What it is without anything to learn: the same on tokens that do not repeat (`losses` of those),
    and for readers that ignore order `interp.in_context.reader_losses`.
    Raises `InputError` for positions that are not predicted or do not ascend.
    """
    length = len(losses.positions) + 1
    early, late = score_positions(length) if positions is None else positions
    if early >= late:
        raise InputError(f"the early position must come before the late one, got {early} and {late}")
    score = bootstrap_interval(losses.at(late) - losses.at(early), generator, level)
    text = f"loss of token {late + 1} minus that of token {early + 1}, of {length}"
    aside = "" if (early, late, length) == (EARLY - 1, LATE - 1, LENGTH) else " (Olsson et al. 2022: 500, 50, of 512)"
    return InContextScore(early, late, score, text + aside)
