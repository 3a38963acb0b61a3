"""How large one value in a model is beside another: what a block adds, against what it is added to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.errors import InputError
from interp.hooks import record
from interp.stats import Estimate
from interp.stats.ratios import resample
from interp.units.watched import check_inputs


@dataclass(frozen=True)
class NormShare:
    """mean ||value|| / mean ||beside||, with an interval over inputs; its baseline is the model at initialisation."""

    value: str
    beside: str
    share: Estimate

    def to_dict(self) -> dict[str, Any]:
        return {"value": self.value, "beside": self.beside, "share": self.share.to_dict()}


def norm_shares(
    model: nn.Module,
    inputs: Float[Tensor, "n *rest"],
    pairs: Sequence[tuple[str, str]],
    generator: torch.Generator,
    *,
    batch_size: int = 256,
    axes: Mapping[str, str] | None = None,
    level: float = 0.95,
) -> tuple[NormShare, ...]:
    """For each (value, beside): the mean over inputs of the one's Euclidean norm, over that of the other's.

    Of a residual block ("blocks.3.layers.1.hook_norm", "blocks.3.hook_shortcut") gives ||F(x)|| / ||shortcut(x)||.
    Intervals are percentile bootstraps of the ratio over inputs, from `generator`. Raises `InputError` for no pairs,
    fewer than two inputs, a model in training mode, unknown points, and a second value that cannot be told from 0.
    """
    check_inputs(model, inputs, least=2)
    if not pairs:
        raise InputError("norm_shares needs at least one pair of points (value, beside), got none")
    names = list(dict.fromkeys(name for pair in pairs for name in pair))
    parts: dict[str, list[Tensor]] = {name: [] for name in names}
    device = next((p.device for p in model.parameters()), inputs.device)
    for batch in inputs.split(batch_size):
        run = record(model, batch.to(device), names=names, reduce=_norms, axes=axes)
        for name, norms in parts.items():
            norms.append(run[name].double().cpu())
    norms_of = {name: torch.cat(norms) for name, norms in parts.items()}
    draws = resample(len(inputs), generator, level)
    found = []
    for value, beside in pairs:
        ratio = draws.ratio(norms_of[value][:, None], norms_of[beside])
        found.append(NormShare(value, beside, ratio[0]))
    return tuple(found)


def _norms(value: Tensor) -> Tensor:
    norms: Tensor = value.flatten(1).norm(dim=1)
    return norms
