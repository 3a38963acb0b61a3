"""A survey's figures: responses, gradient norms and linearity, each beside the same net untrained."""

from collections.abc import Callable

import torch
from matplotlib.figure import Figure
from torch import Tensor

from analyses.units.net import Net
from analyses.units.survey import Survey
from interp.plots.layers import Panel, layer_panels
from interp.stats import Estimate, Estimates
from interp.units import Responses

SERIES = ("trained", "untrained")


def response_figure(net: Net, found: Survey) -> Figure:
    """Deviation, activity, dead units and sparsity after each activation."""
    pairs = list(zip(SERIES, found.responses, strict=True))
    names = after_activations(found)

    def layer(of: Callable[[Responses], float]) -> dict[str, Tensor]:
        return {which: torch.tensor([of(each[name]) for name in names]) for which, each in pairs}

    whole = (-0.03, 1.03)
    stds = {which: stacked([each[name].layer_std for name in names]) for which, each in pairs}
    panels = [
        Panel("standard deviation", stds),
        Panel("values above 0 (share)", layer(lambda each: float(each.active.mean.mean())), limits=whole),
        Panel("dead units (share)", layer(lambda each: each.dead_share), limits=whole),
        Panel("sparsity", layer(lambda each: float(each.sparsity.mean())), limits=whole),
    ]
    protocol = (
        f"On {len(net.held_out)} held-out examples; bars: 95 % intervals over them. Dead: never above 0 on these. "
        "Sparsity: 0 for units that answer to all examples alike, 1 to a single one. Untrained: the same net before "
        "training."
    )
    return layer_panels(names, panels, title=f"Responses of {net.name}", protocol=protocol)


def after_activations(found: Survey) -> list[str]:
    """The points after an activation; all that were measured, where there is none."""
    names = list(found.responses[0])
    return [name for name in names if name.endswith("hook_post")] or names


def gradient_figure(net: Net, found: Survey) -> Figure:
    """Norms of the loss's gradient, and the same over those of the weights."""
    panels = [
        Panel(label, {which: getattr(each, of) for which, each in zip(SERIES, found.gradients, strict=True)}, log=True)
        for label, of in (("gradient's norm", "norms"), ("norm / norm of the weights", "relative"))
    ]
    protocol = (
        f"Euclidean norm over minibatches of {found.gradients[0].batch_size} training examples, in training mode; "
        "bars: 95 % intervals over minibatches."
    )
    return layer_panels(found.gradients[0].names, panels, title=f"Gradients of {net.name}", protocol=protocol)


def linearity_figure(net: Net, found: Survey) -> Figure:
    """R² of the best affine map through each layer."""
    of = {"trained": "trained", "untrained": "untrained", "affine": "affine part alone"}
    series = {said: stacked([getattr(each, which).r2 for each in found.linearity]) for which, said in of.items()}
    first, chance = found.linearity[0].trained, max(each.trained.shuffled.maximum for each in found.linearity)
    protocol = (
        f"Affine map from what a layer reads to its activation, fitted to {first.fitted} training examples, R² on "
        f"others, 95 % intervals over them. Affine part: to the layer before its activation, exactly affine. With the "
        f"examples' targets dealt anew {first.shuffled.n} times at most {chance:.2f}."
    )
    names = [each.layer.name for each in found.linearity]
    return layer_panels(names, [Panel("held-out R²", series)], title=f"Linearity of {net.name}", protocol=protocol)


def stacked(estimates: list[Estimate]) -> Estimates:
    """Estimates of the same kind, one after the other."""
    mean, low, high = (torch.tensor([getattr(each, end) for each in estimates]) for end in ("mean", "low", "high"))
    first = estimates[0]
    return Estimates(mean, low, high, first.n, first.level, first.method)
