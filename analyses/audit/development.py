"""How in-context learning formed: its score at a run's checkpoints, the phase change, and what moved between them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from interp import errors
from interp.ablation import removal
from interp.in_context import (
    BeforeAfter,
    PhaseChange,
    Trajectory,
    before_after,
    phase_change,
    score_positions,
    trajectory,
    undone_by,
)
from interp.in_context.positions import every_loss
from interp.stats import Estimate, Estimates, bootstrap_intervals
from interp.weights.shape import shape_of
from toy_models.checkpoint import Checkpoint, list_checkpoints, load_checkpoint
from toy_models.errors import InputError

MOST_CHECKPOINTS = 24
"""Of more, so many are taken, as evenly as their order allows; the first and the last are among them."""
NONE = "this model has no checkpoints"


@dataclass(frozen=True, eq=False)
class Development:
    """Empty, with a `reason`, where there are fewer than two checkpoints."""

    steps: tuple[int, ...] = ()
    scores: Estimates | None = None
    """In-context score at each checkpoint, nats, [step]."""
    phase: PhaseChange | None = None
    """None where the score surely falls over no stretch."""
    between: tuple[int, int] | None = None
    """The steps that the vector leads between: the phase change's, else the first and the last."""
    vector: BeforeAfter | None = None
    trajectory: Trajectory | None = None
    undone: Estimates | None = None
    """Share of the vector that removing each head takes back, by mean, [head]; None without a phase change."""
    n_found: int = 0
    reason: str = NONE

    def undone_rows(self, heads: Sequence[str]) -> list[tuple[str, Estimate]]:
        """The shares with the heads' names, the largest first."""
        assert self.undone is not None
        order = self.undone.mean.argsort(descending=True).tolist()
        return [(heads[index], self.undone[index]) for index in order]

    def to_dict(self) -> dict[str, Any]:
        parts = {name: getattr(self, name) for name in ("scores", "phase", "vector", "trajectory", "undone")}
        about = {"steps": list(self.steps), "checkpoints_found": self.n_found, "reason": self.reason}
        return {**about, "between": self.between, **{name: part and part.to_dict() for name, part in parts.items()}}


def measure_development(
    run: Path | None, model: nn.Module, tokens: Tensor, generator: torch.Generator, level: float, causal: bool = True
) -> Development:
    """On the same tokens at every checkpoint; heads are removed from `model`, unless not `causal`.

    A checkpoint that cannot be read, or of another vocabulary or a shorter context, leaves the section empty and says
    so: the audit of the model itself stands.
    """
    folders = [] if run is None else list_checkpoints(run)
    if len(folders) < 2:
        return Development(n_found=len(folders), reason=NONE if not folders else "this run has a single checkpoint")
    try:
        found = [load_checkpoint(folder) for folder in thinned(folders)]
        steps = [step_of(checkpoint) for checkpoint in found]
        losses = torch.stack([every_loss(checkpoint.model, tokens.cpu()) for checkpoint in found])
    except (InputError, errors.InputError, IndexError) as error:
        return Development(n_found=len(folders), reason=f"the checkpoints cannot be compared: {error}")
    early, late = score_positions(tokens.shape[1])
    scores = losses[:, :, late - 1] - losses[:, :, early - 1]
    phase = phase_change(steps, scores, generator, level)
    before, after = (0, len(steps) - 1) if phase is None else (steps.index(phase.before), steps.index(phase.after))
    vector = before_after(losses[before], losses[after], generator, level)
    undone = None
    if phase is not None and causal:
        how = removal(model, tokens, "mean")
        undone = undone_by(model, shape_of(model).heads, tokens, vector.vector, how, generator, level)
    return Development(
        steps=tuple(steps),
        scores=bootstrap_intervals(scores.T, generator, level),
        phase=phase,
        between=(steps[before], steps[after]),
        vector=vector,
        trajectory=trajectory(losses) if len(steps) > 2 else None,
        undone=undone,
        n_found=len(folders),
        reason="",
    )


def thinned(folders: list[Path]) -> list[Path]:
    """At most `MOST_CHECKPOINTS` of them, in order."""
    if len(folders) <= MOST_CHECKPOINTS:
        return folders
    last = len(folders) - 1
    return [folders[round(i * last / (MOST_CHECKPOINTS - 1))] for i in range(MOST_CHECKPOINTS)]


def step_of(checkpoint: Checkpoint) -> int:
    """The training step that a checkpoint says it is of; `InputError` if it does not."""
    step = checkpoint.metadata.get("step")
    if not isinstance(step, int):
        raise InputError(f"{checkpoint.path}: its step must be a whole number, got {step!r}")
    return step
