"""Normalisation of a layer's output, by name."""

from torch import nn

from toy_models.layer_kinds import NormKind
from toy_models.layers.batch_norm import BatchNorm
from toy_models.layers.layer_norm import LayerNorm


def make_norm(kind: NormKind, units: int, axes: str, eps: float) -> nn.Module:
    """Of values whose dimensions `axes` name, "batch unit" or "batch unit y x"; an identity for "none"."""
    if kind == "none":
        return nn.Identity()
    return BatchNorm(units, axes, eps) if kind == "batch" else LayerNorm(units, axes, eps)
