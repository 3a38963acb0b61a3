"""What breaks when units are removed: MLP neurons, heads, or whatever a hook point has along its unit or head axis.

A unit is removed by putting zeros, its mean or its value on another sequence in its place (as `removal` does with
heads); what stands in comes from the intact model. Effects are "removed minus intact", averaged over the scored tokens
of each sequence; intervals are over sequences, and paired: both runs are on the same tokens.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from interp.ablation.losses import device_of, masked_means, scored_masks, target_values
from interp.ablation.metric import SequenceMetric, metric_values
from interp.ablation.random_sets import random_sets
from interp.ablation.removal import HELD, Over, To, held_patterns, stand_ins
from interp.causality import require_causal
from interp.errors import InputError
from interp.hooks import ablate, intervene, record
from interp.stats import (
    Estimate,
    Estimates,
    Null,
    bootstrap_intervals,
    monte_carlo_p_value,
    null_summary,
)
from interp.weights.shape import shape_of

QUANTITIES = ("loss", "logit", "probability", "elsewhere", "metric")


class Unit(NamedTuple):
    """One index along the unit (or head) axis of a hook point; prints as "blocks.0.mlp.hook_post[3]"."""

    point: str
    index: int  # type: ignore[assignment]  # hides tuple.index

    def __str__(self) -> str:
        return f"{self.point}[{self.index}]"


@dataclass(frozen=True, eq=False)
class UnitEffects:
    """Effect of removing each unit by itself; `effects.loss[i]` is that of `units[i]`."""

    units: tuple[Unit, ...]
    loss: Estimates
    """Of the scored tokens, nats per token."""
    logit: Estimates
    probability: Estimates
    elsewhere: Estimates | None
    """Loss of the tokens that are not scored; None if some sequence has none."""
    metric: Estimates | None
    """Of the metric, where one was given."""
    others: Float[Tensor, " unit"] | None
    """The mean effect on the loss of the other units that were measured, to compare with; None for a single one."""
    text: str

    def to_dict(self) -> dict[str, Any]:
        others = None if self.others is None else self.others.tolist()
        return {"protocol": self.text, "units": [str(unit) for unit in self.units], "others": others} | _json(self)


@dataclass(frozen=True, eq=False)
class UnitSetEffect:
    """Effect of removing several units together, beside random sets of as many units of the same points."""

    units: tuple[Unit, ...]
    loss: Estimate
    logit: Estimate
    probability: Estimate
    elsewhere: Estimate | None
    metric: Estimate | None
    random: Null | None
    """The loss effect of other sets; None if there are fewer than two."""
    random_losses: Float[Tensor, " draw"]
    p_value: float | None
    """(1 + sets that cost at least as much) / (1 + sets)."""
    text: str

    def to_dict(self) -> dict[str, Any]:
        control = {"random": self.random and self.random.to_dict(), "p_value": self.p_value}
        return {"protocol": self.text, "units": [str(unit) for unit in self.units]} | control | _json(self)


def unit_effects(
    model: nn.Module,
    units: str | Mapping[str, Iterable[int]],
    tokens: Int[Tensor, "batch pos"],
    scored: Bool[Tensor, "batch pos"],
    generator: torch.Generator,
    *,
    metric: SequenceMetric | None = None,
    to: To = "mean",
    over: Over = "batch and positions",
    reference: Int[Tensor, "reference_batch reference_pos"] | None = None,
    hold_patterns: bool = False,
    level: float = 0.95,
) -> UnitEffects:
    """Every one of these units removed by itself.

    units: a hook point, for all of its units, or points with the indices to remove:
        `unit_effects(model, {"blocks.0.mlp.hook_post": [3, 7]}, ...)`.
    metric: also measure this, one number a sequence (`interp.patching.logit_difference`).
    `scored` is as in `head_effects`; `to`, `over`, `reference` and `hold_patterns` are those of `removal`. Raises
    `InputError` for points without unit or head axis, units that are not there, and as those do.
    """
    run = _Run(model, tokens, scored, metric)
    chosen = _chosen(run, units)
    run.prepare(chosen, to, over, reference, generator, hold_patterns)
    found = torch.stack([run.effect([unit]) for unit in chosen], dim=-1)
    n, losses = len(chosen), found[0].nanmean(0)
    others = (losses.sum() - losses) / (n - 1) if n > 1 else None
    return UnitEffects(chosen, others=others, text=run.text, **_estimates(found, generator, level))


def unit_set_effect(
    model: nn.Module,
    units: Mapping[str, Iterable[int]],
    tokens: Int[Tensor, "batch pos"],
    scored: Bool[Tensor, "batch pos"],
    generator: torch.Generator,
    *,
    metric: SequenceMetric | None = None,
    to: To = "mean",
    over: Over = "batch and positions",
    reference: Int[Tensor, "reference_batch reference_pos"] | None = None,
    hold_patterns: bool = False,
    n_random: int = 30,
    level: float = 0.95,
) -> UnitSetEffect:
    """These units removed together, and `n_random` other sets of as many units at each point (all, if there are fewer).

    The random sets avoid the named units if enough others are left. All else is as in `unit_effects`.
    """
    run = _Run(model, tokens, scored, metric)
    chosen = _chosen(run, units)
    run.prepare(chosen, to, over, reference, generator, hold_patterns)
    groups = [
        ([Unit(point, i) for i in range(size)], [unit for unit in chosen if unit.point == point])
        for point, size in run.sizes.items()
    ]
    others, description = random_sets(groups, n_random, generator, kind="units of these points")
    draws = torch.tensor([float(run.effect(each)[0].nanmean()) for each in others], dtype=torch.float64)
    found = _estimates(run.effect(chosen)[:, :, None], generator, level)
    together = {name: part and part[0] for name, part in found.items()}
    return UnitSetEffect(
        chosen,
        random=null_summary(draws, description) if len(draws) > 1 else None,
        random_losses=draws,
        p_value=monte_carlo_p_value(together["loss"].mean, draws) if len(draws) else None,
        text=run.text,
        **together,
    )


class _Run:
    """What the model does on the tokens with units removed, minus what it does intact."""

    def __init__(self, model: nn.Module, tokens: Tensor, scored: Tensor, metric: SequenceMetric | None):
        require_causal(model, "the loss of the next token")
        self.model, self.metric = model, metric
        self.tokens, self.masks = tokens.to(device_of(model)), scored_masks(tokens, scored)
        self.said = f"{len(tokens)} sequences, {int(scored.sum())} scored tokens"
        self.intact = self._measure()
        self.sizes: dict[str, int] = {}

    def size_of(self, point: str) -> int:
        """How many units a point has."""
        with torch.no_grad():
            seen = record(self.model, self.tokens[:1], names=point)
        axes = seen.axes.get(point)
        axis = next((axis for axis in ("unit", "head") if axis in (axes or ())), None)
        if axes is None or axis is None or axes[:3] != ("batch", "pos", axis):
            has = "no named axes" if axes is None else f"axes ({' '.join(axes)})"
            raise InputError(
                f"{point} has {has}: units are removed where they are batch, pos and unit (or head), such as "
                "blocks.0.mlp.hook_post"
            )
        return int(seen[point].shape[axes.index(axis)])

    def prepare(
        self,
        units: Iterable[Unit],
        to: To,
        over: Over,
        reference: Tensor | None,
        generator: torch.Generator,
        hold_patterns: bool,
    ) -> None:
        """Decides what stands in at the points of these units."""
        points = list(dict.fromkeys(unit.point for unit in units))
        self.instead, text = stand_ins(self.model, self.tokens, points, to, over, reference, generator)
        held = hold_patterns
        self.held = held_patterns(self.model, self.tokens, shape_of(self.model).n_layers) if held else {}
        self.text = f"{self.said}; removed units write {text}{HELD if held else ''}"

    def effect(self, units: Iterable[Unit]) -> Float[Tensor, "quantity batch"]:
        """Loss, logit and probability of the scored tokens, loss of the others, and the metric."""
        by_point: dict[str, list[int]] = {}
        for unit in units:
            by_point.setdefault(unit.point, []).append(unit.index)
        edits = {
            point: ablate(indices, to=self.instead[point][:, :, indices] if self.instead else "zero")
            for point, indices in by_point.items()
        }
        with intervene(self.model, {**self.held, **edits}):
            return self._measure() - self.intact

    @torch.no_grad()
    def _measure(self) -> Float[Tensor, "quantity batch"]:
        logits = self.model(self.tokens)
        scored, rest = masked_means(target_values(logits, self.tokens), self.masks)
        metric = rest[0] * torch.nan if self.metric is None else metric_values(self.metric, logits)
        return torch.stack([*scored, rest[0], metric])


def _chosen(run: _Run, units: str | Mapping[str, Iterable[int]]) -> tuple[Unit, ...]:
    """The units of these names, each once and in order; fills in how many each point has."""
    named = {units: None} if isinstance(units, str) else {point: sorted(set(these)) for point, these in units.items()}
    found: list[Unit] = []
    for point, these in named.items():
        size = run.sizes[point] = run.size_of(point)
        if outside := [index for index in these or () if not 0 <= index < size]:
            raise InputError(f"{point} has units 0 to {size - 1}, there is no unit {outside[0]}")
        found += [Unit(point, index) for index in (range(size) if these is None else these)]
    if not found:
        raise InputError("name at least one unit to remove")
    return tuple(found)


def _estimates(
    effects: Float[Tensor, "quantity batch unit"], generator: torch.Generator, level: float
) -> dict[str, Any]:
    """Of each of QUANTITIES; None for the last two where they were not measured in every sequence."""
    kept = effects[:, ~effects[0, :, 0].isnan()]
    return {
        name: None if bool(values.isnan().any()) else bootstrap_intervals(values, generator, level)
        for name, values in zip(QUANTITIES, kept, strict=True)
    }


def _json(effects: UnitEffects | UnitSetEffect) -> dict[str, Any]:
    parts = {name: getattr(effects, name) for name in QUANTITIES}
    return {name: part and part.to_dict() for name, part in parts.items()}
