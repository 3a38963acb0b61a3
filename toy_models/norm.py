"""Normalisation before every read of the residual stream: LN, LNPre, RMS, RMSPre, or none."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toy_models.config import TransformerConfig
from toy_models.hook_point import HookPoint


class Norm(nn.Module):
    """x / scale * w + b with scale = sqrt(mean(x²) + eps), x first centred for the LN kinds; "Pre" has no w, b."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.centred = config.normalization in ("LN", "LNPre")
        self.eps = config.norm_eps
        gain = config.normalization in ("LN", "RMS")
        self.w = nn.Parameter(torch.ones(config.d_model)) if gain else None
        self.b = nn.Parameter(torch.zeros(config.d_model)) if config.normalization == "LN" else None
        self.hook_scale = HookPoint("batch pos one")
        self.hook_normalized = HookPoint("batch pos d_model")

    def forward(self, x: Tensor) -> Tensor:
        if not (self.hook_scale.watched or self.hook_normalized.watched):
            return normalise(self, x)
        if self.centred:
            x = x - x.mean(-1, keepdim=True)
        mean_square = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square() / x.shape[-1]
        scale = self.hook_scale((mean_square + self.eps).sqrt())
        x = self.hook_normalized(x / scale)
        if self.w is None:
            return x
        return x * self.w if self.b is None else torch.addcmul(self.b, x, self.w)


def make_norm(config: TransformerConfig) -> nn.Module:
    return nn.Identity() if config.normalization == "none" else Norm(config)


def normalise(norm: nn.Module, x: Tensor) -> Tensor:
    """The same map as `norm(x)`, by fused kernels, past its hook points."""
    if not isinstance(norm, Norm):
        return x
    if norm.centred:
        return F.layer_norm(x, x.shape[-1:], norm.w, norm.b, norm.eps)
    return F.rms_norm(x, x.shape[-1:], norm.w, norm.eps)
