"""Attribution patching: the effect of every patch of a map at once, to first order, with its error measured.

    effect ~ mean_b( (a_other - a_base) · d metric / d a   at the base run )

(Nanda 2023, "Attribution Patching: Activation Patching At Industrial Scale"; Syed et al. 2023, arXiv:2310.10348). Two
forward passes and one backward pass stand for one forward pass a patch. What bends between the two runs is missed,
softmax and normalisation above all, so the exact effect is measured beside it: on all cells, or on a random sample.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from interp.errors import InputError
from interp.hooks import intervene, record
from interp.inputs import checked
from interp.patching.activations import Cells, cells_of, effects
from interp.patching.metrics import Metric
from interp.patching.patch_map import PatchMap, patch_map
from interp.patching.runs import BATCH_SIZE, Direction, Runs, two_runs
from interp.stats import Estimate, bootstrap_interval, bootstrap_intervals, clopper_pearson
from interp.stats.ratios import resample


@dataclass(frozen=True, eq=False)
class ApproximationError:
    """How far the approximate effects are from the exact ones, on the cells where both are known."""

    cells: tuple[tuple[str, ...], ...]
    """The labels of the checked cells."""
    exact: Float[Tensor, "batch cell"]
    approximate: Float[Tensor, "batch cell"]
    correlation: Estimate | None
    """Of the cells' mean effects, the interval over sequences; None for fewer than three cells or equal effects."""
    worst: Estimate
    """Approximate minus exact of the cell where that is largest in size, in the metric's unit."""
    worst_at: tuple[str, ...]
    largest: float
    """The largest exact effect in size, to compare the worst error with."""
    same_sign: Estimate | None
    """Share of the cells whose exact effect is told from 0 in which the approximate one has its sign (Clopper-Pearson
    over cells); None if there is no such cell."""
    text: str

    def to_dict(self) -> dict[str, Any]:
        """For JSON: everything but the samples and the list of cells."""
        parts = {name: getattr(self, name) for name in ("correlation", "worst", "same_sign")}
        plain = {"worst_at": self.worst_at, "largest": self.largest, "n_cells": len(self.cells), "text": self.text}
        return {name: part and part.to_dict() for name, part in parts.items()} | plain


@dataclass(frozen=True, eq=False)
class AttributionMap:
    approximate: PatchMap
    """As `activation_patches` gives it, to first order."""
    error: ApproximationError

    def to_dict(self) -> dict[str, Any]:
        return {"approximate": self.approximate.to_dict(), "error": self.error.to_dict()}


@checked
def attribution_patches(
    model: nn.Module,
    clean: Int[Tensor, "batch pos"],
    corrupted: Int[Tensor, "corrupted_batch corrupted_pos"],
    metric: Metric,
    generator: torch.Generator,
    *,
    names: str | Iterable[str],
    by: Iterable[str] = (),
    direction: Direction = "denoising",
    control: bool = True,
    check: int = 64,
    level: float = 0.95,
    batch_size: int = BATCH_SIZE,
    axes: Mapping[str, str] | None = None,
) -> AttributionMap:
    """The map of `activation_patches`, approximated, and how good the approximation is.

    check: on how many cells the exact effect is measured too: all of them, if there are not more, else that many
        drawn at random without replacement.
    All else is as in `activation_patches`. Raises `InputError` as that does, for check below 1, inside
    `torch.inference_mode()`, and for a divergence from the base run itself, whose gradient there is 0.
    """
    if check < 1:
        raise InputError(f"the error is measured on at least one cell, got check={check}")
    if torch.is_inference_mode_enabled():
        raise InputError("attribution patching needs gradients: leave torch.inference_mode() first")
    runs = two_runs(model, clean, corrupted, metric, generator, direction, batch_size)
    if metric.flat_at_reference and float(runs.base_values.abs().max()) <= runs.rounding:
        raise InputError(
            f"the {metric.name} is measured from the run that is patched, and its gradient there is 0: measure it from "
            "the other run, or take the logit difference or the loss"
        )
    cells = cells_of(runs, names, by, axes)
    found = attributions(runs, [runs.other, *([runs.swapped] if control else [])], cells, axes)
    named = list(product(*cells.labels.values()))
    order = torch.randperm(len(named), generator=generator, device=generator.device).cpu()
    chosen = order[:check].sort().values
    exact = effects(runs, runs.other, cells, chosen.tolist(), axes)
    effect, *null = [each.unflatten(1, cells.shape) for each in found]
    text = f"{len(clean)} sequences; effects to first order (attribution patching)"
    approximate = patch_map(cells.labels, runs, effect, null[0] if null else None, generator, text=text, level=level)
    checked = tuple(named[cell] for cell in chosen.tolist())
    said = (
        f"all {len(named)} cells" if len(checked) == len(named) else f"{len(checked)} of {len(named)} cells at random"
    )
    error = approximation_error(
        checked, exact, found[0][:, chosen], generator, text=f"exact effects of {said}", level=level
    )
    return AttributionMap(approximate, error)


def attributions(
    runs: Runs, sources: list[Tensor], cells: Cells, axes: Mapping[str, str] | None = None
) -> list[Float[Tensor, "batch cell"]]:
    """(a_source - a_base) · gradient, summed within each cell, for runs on each of the sources' tokens.

    Values that are equal in both runs count as no difference, also where they are infinite (masked scores).
    """
    found: list[list[Tensor]] = [[] for _ in sources]
    for rows in runs.blocks:
        here = record(runs.model, runs.base[rows], names=cells.points, axes=axes)
        gradients = _gradients(runs, rows, here, axes)
        for tokens, parts in zip(sources, found, strict=True):
            there = record(runs.model, tokens[rows], names=cells.points, axes=axes)
            each = [_within(cells, point, here[point], there[point], gradients[point]) for point in cells.points]
            parts.append(torch.stack(each, dim=1).flatten(1).double().cpu())
    return [torch.cat(parts) for parts in found]


def _gradients(
    runs: Runs, rows: Int[Tensor, " row"], values: Mapping[str, Tensor], axes: Mapping[str, str] | None
) -> dict[str, Tensor]:
    """Of each sequence's metric by the values at each point: those of something added to them, so that a model whose
    parameters are frozen has them too."""
    added = {name: torch.zeros_like(value).requires_grad_() for name, value in values.items()}
    edits = {name: lambda value, more=more: value + more for name, more in added.items()}
    with torch.enable_grad(), intervene(runs.model, edits, axes=axes):
        total = runs.metric.select(rows)(runs.model(runs.base[rows])).sum()
        found = torch.autograd.grad(total, list(added.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(added, found, strict=True))


def _within(cells: Cells, point: str, here: Tensor, there: Tensor, gradient: Tensor) -> Float[Tensor, "row *sizes"]:
    """(there - here) · gradient, summed over all axes but the batch and those of the map."""
    change = torch.where(there == here, 0.0, there - here) * gradient
    kept = (0, *cells.dims[point])
    rest = [dim for dim in range(change.ndim) if dim not in kept]
    return change.permute(*kept, *rest).flatten(len(kept)).sum(-1) if rest else change.permute(kept)


def approximation_error(
    cells: tuple[tuple[str, ...], ...],
    exact: Float[Tensor, "batch cell"],
    approximate: Float[Tensor, "batch cell"],
    generator: torch.Generator,
    *,
    text: str,
    level: float = 0.95,
) -> ApproximationError:
    """Correlation, worst error and agreement of signs of the means over sequences."""
    off = approximate - exact
    worst = int(off.mean(0).abs().argmax())
    known = bootstrap_intervals(exact, generator, level)
    told = (known.low > 0) | (known.high < 0)
    agree = (approximate.mean(0).sign() == known.mean.sign())[told]
    return ApproximationError(
        cells,
        exact,
        approximate,
        _correlation(exact, approximate, generator, level),
        bootstrap_interval(off[:, worst], generator, level),
        cells[worst],
        float(known.mean.abs().max()),
        clopper_pearson(int(agree.sum()), len(agree), level) if len(agree) else None,
        text,
    )


def _correlation(exact: Tensor, approximate: Tensor, generator: torch.Generator, level: float) -> Estimate | None:
    """Pearson correlation over cells of the means over sequences, resampled by sequences."""
    draws = resample(len(exact), generator, level)
    if exact.shape[1] < 3:
        return None
    whole = _pearson(exact.mean(0, keepdim=True), approximate.mean(0, keepdim=True))
    drawn = _pearson(draws.shares @ exact, draws.shares @ approximate)
    if not bool(whole.isfinite()) or not bool(drawn.isfinite().all()):
        return None
    low, high = draws.limits(drawn[:, None])
    text = f"percentile bootstrap over sequences, {len(drawn)} resamples"
    return Estimate(float(whole), float(low), float(high), len(exact), level, text)


def _pearson(x: Float[Tensor, "row cell"], y: Float[Tensor, "row cell"]) -> Float[Tensor, " row"]:
    x, y = x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
    return (x * y).sum(1) / (x.square().sum(1) * y.square().sum(1)).sqrt()
