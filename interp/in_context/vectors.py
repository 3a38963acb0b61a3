"""Per-token losses as vectors: how a model moves through them while it learns, and which heads undo the way it went."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from interp.ablation.removal import Removal
from interp.errors import InputError
from interp.hooks import intervene
from interp.in_context.positions import every_loss
from interp.names import Head
from interp.stats import Estimates, bootstrap_intervals
from interp.stats.ratios import resample


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Checkpoints in the plane of the first two principal components of their per-token losses."""

    coordinates: Float[Tensor, "step two"]
    """Nats, root mean square over tokens."""
    explained: Float[Tensor, " two"]
    """Share of the variance over checkpoints that each component has."""

    def to_dict(self) -> dict[str, Any]:
        return {"coordinates": self.coordinates.tolist(), "explained": self.explained.tolist()}


@dataclass(frozen=True, eq=False)
class BeforeAfter:
    """The before-and-after vector: what each token's loss changed by between two checkpoints."""

    change: Estimates
    """Mean over sequences by position, nats, [place]; below 0 where the later checkpoint predicts better."""
    vector: Float[Tensor, "batch place"]

    def to_dict(self) -> dict[str, Any]:
        return {"change": self.change.to_dict(), "root_mean_square": float(self.vector.square().mean().sqrt())}


def before_after(
    before: Float[Tensor, "batch place"],
    after: Float[Tensor, "batch place"],
    generator: torch.Generator,
    level: float = 0.95,
) -> BeforeAfter:
    """L_after - L_before on the same tokens (Olsson et al. 2022), with its mean by position."""
    vector = after - before
    return BeforeAfter(bootstrap_intervals(vector, generator, level), vector)


def trajectory(losses: Float[Tensor, "step batch place"]) -> Trajectory:
    """PCA of the per-token-loss vectors of a model's checkpoints, centred on their mean over checkpoints.

    Olsson et al. 2022 take one random token of each of 10,000 examples, and the checkpoints of several models
    together; here all tokens of all sequences, of one model. Signs are chosen so that the last checkpoint lies to the
    right of the first, and the checkpoint farthest off the line lies above it. Raises `InputError` for fewer than
    three checkpoints.
    """
    if len(losses) < 3:
        raise InputError(f"a plane through checkpoints needs three of them, got {len(losses)}")
    flat = losses.double().flatten(1)
    flat = (flat - flat.mean(0)) / flat.shape[1] ** 0.5
    left, singular, _ = torch.linalg.svd(flat, full_matrices=False)
    coordinates = (left * singular)[:, :2]
    right = -1.0 if float(coordinates[-1, 0] - coordinates[0, 0]) < 0 else 1.0
    farthest = coordinates[:, 1].abs().argmax()
    up = -1.0 if float(coordinates[farthest, 1]) < 0 else 1.0
    total = singular.square().sum().clamp_min(torch.finfo(singular.dtype).tiny)
    return Trajectory(coordinates * torch.tensor([right, up]).double(), singular[:2].square() / total)


def undone_by(
    model: nn.Module,
    heads: Iterable[Head],
    tokens: Int[Tensor, "batch pos"],
    vector: Float[Tensor, "batch place"],
    how: Removal,
    generator: torch.Generator,
    level: float = 0.95,
) -> Estimates:
    """The share of the before-and-after vector d that removing each head takes back, [head]:

        -<d, L_removed - L_intact> / <d, d>

    1 where losses are as before again, 0 where they do not move along it (Olsson et al. 2022 show the numerator for a
    unit vector, with the other sign). Ratios over all tokens, resampled over sequences.
    Raises `InputError` where d is 0 in some resample.
    """
    intact, rises = every_loss(model, tokens), []
    for head in heads:
        with intervene(model, how.edits([head])):
            rises.append(every_loss(model, tokens) - intact)
    along = torch.stack([-(vector * rise).sum(1) for rise in rises], dim=1)
    return resample(len(vector), generator, level).ratio(along, vector.square().sum(1))
