"""The scale that stays after folding: one number per position and read, and what is lost by taking it as constant."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from interp import names
from interp.errors import InputError
from interp.hooks import record
from interp.inputs import checked
from interp.lens.attribution import final_scale
from interp.norms.reads import Read, reads_of
from interp.paths.frozen import embedded
from interp.stats import Estimates, bootstrap_intervals
from interp.weights import TransformerWeights, weights_of


@dataclass(frozen=True, eq=False)
class ReadScales:
    """What every read divides by at every position, and how much of its output depends on that."""

    reads: tuple[Read, ...]
    values: Float[Tensor, "read batch pos"]
    mean: Estimates
    """Over positions, [read]."""
    missed: Estimates
    """Share of what a read gives (its squared length before the gain) that one constant scale misses, [read]."""

    def to_dict(self) -> dict[str, Any]:
        means = {"mean": self.mean.to_dict(), "missed": self.missed.to_dict()}
        return {"reads": [str(read) for read in self.reads], **means}


@checked
@torch.no_grad()
def read_scales(
    model: nn.Module, tokens: Int[Tensor, "batch pos"], generator: torch.Generator, level: float = 0.95
) -> ReadScales:
    """sqrt(mean(x²) + norm_eps) of the (centred) residual stream at every read and position of these sequences.

    With one scale for all positions of a read in the place of its own, the best one misses the share

        1 - (sum s)² / (n sum s²) = CV² / (1 + CV²)        CV the scales' coefficient of variation

    of sum |x / s|² (exact for norm_eps = 0): what keeps the model from being linear once patterns are held. It is
    worked out over all positions of a sequence; intervals are bootstrap intervals over sequences, in scale units for
    `mean`. Raises `InputError` for a model without normalisation, and for fewer than two sequences or positions.
    """
    if tokens.ndim != 2 or len(tokens) < 2 or tokens.shape[1] < 2:
        raise InputError(f"scales are compared in tokens [batch pos], two of each at least, got {list(tokens.shape)}")
    w = weights_of(model, fold=False)
    reads = reads_of(w)
    points = {read: point_of(w, read) for read in reads}
    run = record(model, tokens, names=list(dict.fromkeys(points.values())))
    streams = {read: run[point] for read, point in points.items()}
    if not w.n_layers:
        streams = {read: embedded(w, x) for read, x in streams.items()}
    values = torch.stack([final_scale(w, x).double().cpu() for x in streams.values()])
    n = tokens.shape[1]
    missed = 1 - values.sum(-1).square() / (n * values.square().sum(-1))
    return ReadScales(
        reads,
        values,
        bootstrap_intervals(values.mean(-1).T, generator, level),
        bootstrap_intervals(missed.T, generator, level),
    )


def point_of(w: TransformerWeights, read: Read) -> str:
    """The hook point of the residual stream that a read normalises (of the embedding, in a model without layers)."""
    if read.layer is None:
        return names.resid_post_name(w.n_layers - 1) if w.n_layers else names.embed_name()
    behind = read.by == "MLP" and not w.parallel
    return names.resid_mid_name(read.layer) if behind else names.resid_pre_name(read.layer)
