"""Everything that `interp units` measures of a net, each beside the same net untrained."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from analyses.units.layers import Stretch, stretches
from analyses.units.net import Net
from interp.hooks import Unseen, unseen_operations
from interp.units import (
    GradientNorms,
    Linearity,
    Responses,
    effective_linearity,
    gradient_norms,
    unit_responses,
)

FITTED = 600
"""Training examples for linearity; an affine map is fitted to half of them, and measured on the other half."""
GRADIENT_EXAMPLES, BATCH = 512, 64
SHUFFLES = 10
RANGES = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}
"""Between which ends an activation lies; others have none, or one."""


@dataclass(frozen=True, eq=False)
class LayerLinearity:
    """How affine a layer is in what it reads, trained and untrained, and the affine part of the layer by itself."""

    layer: Stretch
    trained: Linearity
    untrained: Linearity
    affine: Linearity
    """From the same source to the layer before its activation, exactly affine: below 1 by few examples alone."""

    def to_dict(self) -> dict[str, Any]:
        parts = {name: getattr(self, name).to_dict() for name in ("trained", "untrained", "affine")}
        return {"layer": vars(self.layer), **parts}


@dataclass(frozen=True, eq=False)
class Survey:
    """Responses by hook point, gradient norms by module, linearity by layer; the second of each pair is untrained."""

    responses: tuple[dict[str, Responses], dict[str, Responses]]
    gradients: tuple[GradientNorms, GradientNorms]
    linearity: tuple[LayerLinearity, ...]
    unseen: Unseen

    def to_dict(self) -> dict[str, Any]:
        trained, untrained = self.responses
        return {
            "responses": {
                name: {"trained": trained[name].to_dict(), "untrained": untrained[name].to_dict()} for name in trained
            },
            "gradients": {
                which: norms.to_dict() for which, norms in zip(("trained", "untrained"), self.gradients, strict=True)
            },
            "linearity": [each.to_dict() for each in self.linearity],
            "unseen": self.unseen.to_dict(),
        }


def survey(net: Net, names: tuple[str, ...], generator: torch.Generator) -> Survey:
    """Responses at the named points (all without) on held-out examples, gradients and linearity on training ones."""
    points, nets = net.points(names), (net.model, net.untrained)
    ends = RANGES.get(net.activation)
    ranges = None if ends is None else {"*hook_post": ends}
    trained, untrained = (
        unit_responses(model, net.held_out.inputs, generator, points, ranges=ranges) for model in nets
    )
    first, second = (gradients_of(model, net, generator) for model in nets)
    linear = tuple(linearity_of(net, layer, generator) for layer in stretches(net))
    unseen = unseen_operations(net.model, net.held_out.inputs[:2])
    return Survey((trained, untrained), (first, second), linear, unseen)


def gradients_of(model: nn.Module, net: Net, generator: torch.Generator) -> GradientNorms:
    """As training sees them: in training mode, what dropout draws decided by `generator`."""
    examples = net.training.first(GRADIENT_EXAMPLES)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
        try:
            size = min(BATCH, len(examples) // 2)
            return gradient_norms(model.train(), examples.inputs, examples.targets, mean_of(net), batch_size=size)
        finally:
            model.eval()


def mean_of(net: Net) -> Callable[[Any, Tensor], Tensor]:
    def loss(output: Any, targets: Tensor) -> Tensor:
        return net.loss(output, targets).mean()

    return loss


def linearity_of(net: Net, layer: Stretch, generator: torch.Generator) -> LayerLinearity:
    """All three on the same halves and shufflings."""
    seed = int(torch.randint(2**31, (1,), generator=generator))

    def measured(model: nn.Module, target: str) -> Linearity:
        own, inputs = torch.Generator().manual_seed(seed), net.training.first(FITTED).inputs
        return effective_linearity(model, inputs, layer.source, target, own, ridge=None, shuffles=SHUFFLES)

    return LayerLinearity(
        layer, measured(net.model, layer.target), measured(net.untrained, layer.target), measured(net.model, layer.pre)
    )
