"""The two runs that a patch is between, and running many patches in one forward pass."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from interp.ablation.losses import device_of
from interp.causality import require_causal
from interp.errors import InputError
from interp.finite import require_finite
from interp.hooks import intervene
from interp.patching.metrics import Metric

Direction = Literal["denoising", "noising"]
BATCH_SIZE = 128
Edits = Mapping[str, Any]
"""What `intervene` takes."""


@dataclass(frozen=True, eq=False)
class Runs:
    """A model about to be patched: it runs on `base`, patches come from its run on `other`, row by row."""

    model: nn.Module
    base: Int[Tensor, "batch pos"]
    other: Int[Tensor, "batch pos"]
    swapped: Int[Tensor, "batch pos"]
    """`other` with its rows moved along one random cycle: nobody has their own."""
    metric: Metric
    direction: str
    base_values: Float[Tensor, " batch"]
    other_values: Float[Tensor, " batch"]
    rounding: float
    """How far two values of the metric may differ by rounding error alone."""
    batch_size: int

    @property
    def blocks(self) -> tuple[Tensor, ...]:
        """The sequences, as many at a time as go into one forward pass."""
        return torch.arange(len(self.base)).split(self.batch_size)

    @torch.no_grad()
    def measure(
        self, rows: Int[Tensor, " row"], n_cells: int, edits_of: Callable[[range], Edits]
    ) -> Float[Tensor, "row cell"]:
        """The metric under each of `n_cells` patches of these sequences, as many patches at a time as fit.

        `edits_of(cells)` are the edits for a batch that holds the sequences once for each of these cells, in order.
        """
        at_once, found = max(1, self.batch_size // len(rows)), []
        for start in range(0, n_cells, at_once):
            cells = range(start, min(start + at_once, n_cells))
            with intervene(self.model, edits_of(cells)):
                logits = self.model(self.base[rows].repeat(len(cells), 1))
            values = self.metric.select(rows.repeat(len(cells)))(logits)
            found.append(values.cpu().unflatten(0, (len(cells), len(rows))))
        return torch.cat(found).T


def two_runs(
    model: nn.Module,
    clean: Int[Tensor, "batch pos"],
    corrupted: Int[Tensor, "corrupted_batch corrupted_pos"],
    metric: Metric,
    generator: torch.Generator,
    direction: str,
    batch_size: int,
) -> Runs:
    """Checked tokens and the metric of both runs.

    Raises `InputError` for tokens of different shapes, fewer than two sequences, a metric of another number of
    sequences, an unknown direction or a batch size below 1.
    """
    if clean.ndim != 2 or clean.shape != corrupted.shape:
        raise InputError(
            f"clean and corrupted tokens must be [batch pos] of one shape, got {list(clean.shape)} and "
            f"{list(corrupted.shape)}"
        )
    if len(clean) < 2:
        raise InputError(f"an interval over sequences needs at least two of them, got {len(clean)}")
    if len(metric) != len(clean):
        raise InputError(f"the metric {metric.name!r} is about {len(metric)} sequences, there are {len(clean)}")
    if metric.name == "loss":
        require_causal(model, "the loss of the next token")
    if direction not in ("denoising", "noising"):
        raise InputError(f"direction must be 'denoising' or 'noising', got {direction!r}")
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, got {batch_size}")
    clean, corrupted = (tokens.to(device_of(model)) for tokens in (clean, corrupted))
    base, other = (corrupted, clean) if direction == "denoising" else (clean, corrupted)
    order = torch.randperm(len(base), generator=generator, device=generator.device).cpu()
    source = torch.empty_like(order)
    source[order] = order.roll(1)
    blocks = torch.arange(len(base)).split(batch_size)
    values, precision = zip(*(_metric(model, tokens, metric, blocks) for tokens in (base, other)), strict=True)
    largest = max(1.0, *(float(each.abs().max()) for each in values))
    rounding = 64 * torch.finfo(precision[0]).eps * largest
    swapped = other[source.to(other.device)]
    return Runs(model, base, other, swapped, metric, direction, values[0], values[1], rounding, batch_size)


@torch.no_grad()
def _metric(
    model: nn.Module, tokens: Tensor, metric: Metric, blocks: tuple[Tensor, ...]
) -> tuple[Float[Tensor, " batch"], torch.dtype]:
    found = []
    for rows in blocks:
        logits = model(tokens[rows])
        require_finite("the logits", logits)
        found.append(metric.select(rows)(logits).double().cpu())
    return torch.cat(found), logits.dtype
