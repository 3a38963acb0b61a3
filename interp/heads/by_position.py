"""Head scores at each query position: a head may do at some positions what its mean over all of them hides."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from interp.causality import require_causal
from interp.errors import InputError
from interp.finite import require_finite
from interp.heads.at_once import parts
from interp.heads.detectors import DETECTORS
from interp.hooks import record
from interp.inputs import checked
from interp.names import pattern_name
from interp.stats import Estimates, bootstrap_intervals
from interp.weights.shape import shape_of

BY_POSITION = ("previous_token", "prefix_matching")


@dataclass(frozen=True, eq=False)
class ScoresByPosition:
    """The attention of every head on a detector's entries, at the query positions that have one in every sequence."""

    name: str
    positions: tuple[int, ...]
    interval: Estimates
    """[position layer head], mean over sequences with a bootstrap interval."""
    null: Float[Tensor, " position"]
    """The same of even attention, entries / keys: what each row gives on average when shuffled over its keys."""

    @property
    def score(self) -> Float[Tensor, "position layer head"]:
        return self.interval.mean

    def to_dict(self) -> dict[str, Any]:
        return {
            "positions": list(self.positions),
            "score": self.score.tolist(),
            "interval": self.interval.to_dict(),
            "null": self.null.tolist(),
            "null_description": "even attention, which is also the mean of shuffled patterns",
        }


@checked
def scores_by_position(
    model: nn.Module,
    tokens: Int[Tensor, "batch pos"],
    generator: torch.Generator,
    names: Iterable[str] = BY_POSITION,
    level: float = 0.95,
) -> dict[str, ScoresByPosition]:
    """Detectors that sum attention, read at each query position i: sum over a detector's entries j of A_ij.

    Averaged over the positions, that is the detector's score. Raises `InputError` for detectors that are unknown or
    average entries, tokens at which one has no position in common, and fewer than two sequences.
    """
    require_causal(model, "a detector of heads that look back")
    wanted = tuple(names)
    if bad := [n for n in wanted if n not in DETECTORS or DETECTORS[n].reduction != "mass" or DETECTORS[n].weighted]:
        summed = ", ".join(name for name, d in DETECTORS.items() if d.reduction == "mass" and not d.weighted)
        raise InputError(f"by position there are {summed}, not {bad[0]!r}")
    shape, device = shape_of(model), next(model.parameters()).device
    entries = {name: DETECTORS[name].entries(tokens) for name in wanted}
    points = [pattern_name(layer) for layer in range(shape.n_layers)]
    found = []
    for part in parts(model, tokens):
        masks = torch.stack([mask[part] for mask in entries.values()]).to(device)
        reductions = {point: partial(_masses, point, masks) for point in points}
        run = record(model, tokens[part].to(device), names=points, reduce=reductions)
        found.append(torch.stack([run[point] for point in points], dim=3).cpu().double())
    masses = torch.cat(found, dim=1)  # detector batch dest layer head
    each = zip(wanted, entries.values(), masses, strict=True)
    return {name: _summary(name, mask.cpu(), values, generator, level) for name, mask, values in each}


def _masses(
    point: str, masks: Bool[Tensor, "detector batch dest src"], pattern: Float[Tensor, "batch head dest src"]
) -> Float[Tensor, "detector batch dest head"]:
    require_finite(point, pattern)
    return torch.stack([(pattern * mask[:, None]).sum(-1).transpose(1, 2) for mask in masks])


def _summary(
    name: str,
    mask: Bool[Tensor, "batch dest src"],
    masses: Float[Tensor, "batch dest layer head"],
    generator: torch.Generator,
    level: float,
) -> ScoresByPosition:
    shared = mask.any(-1).all(0)
    if not bool(shared.any()):
        raise InputError(f"{name} has no query position that can be read in every sequence")
    keys = torch.arange(1, mask.shape[-1] + 1)
    null = (mask.sum(-1).double() / keys).mean(0)
    positions = tuple(shared.nonzero().flatten().tolist())
    return ScoresByPosition(name, positions, bootstrap_intervals(masses[:, shared], generator, level), null[shared])
