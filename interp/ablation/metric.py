"""What removing heads does to any number read from the logits of a sequence, such as a logit difference."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from interp.ablation.heads import OTHERS, mean_of_others
from interp.ablation.losses import device_of
from interp.ablation.removal import Over, To, removal
from interp.errors import InputError
from interp.heads.scores import HeadScores, head_scores
from interp.hooks import intervene
from interp.weights.shape import shape_of


@runtime_checkable
class SequenceMetric(Protocol):
    """One number for each sequence, from its logits; `interp.patching` makes such metrics."""

    @property
    def name(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def text(self) -> str:
        """What exactly is measured, in words."""
        ...

    def __call__(self, logits: Float[Tensor, "batch pos d_vocab"]) -> Float[Tensor, " batch"]: ...


@torch.no_grad()
def metric_effects(
    model: nn.Module,
    tokens: Int[Tensor, "batch pos"],
    metric: SequenceMetric,
    generator: torch.Generator,
    *,
    to: To = "mean",
    over: Over = "batch and positions",
    reference: Int[Tensor, "reference_batch reference_pos"] | None = None,
    hold_patterns: bool = False,
    level: float = 0.95,
) -> HeadScores:
    """metric(removed) - metric(intact) of every head removed by itself, with intervals over sequences.

    For example `metric_effects(model, tokens, interp.patching.logit_difference(right, wrong), generator)`. The control
    are the other heads of the layer, as in `head_effects`; `to`, `over`, `reference` and `hold_patterns` are those of
    `removal`. Raises `InputError` for a metric that does not give one finite number for each sequence.
    """
    shape, tokens = shape_of(model), tokens.to(device_of(model))
    how = removal(model, tokens, to, over, reference, generator, hold_patterns=hold_patterns)
    intact = metric_values(metric, model(tokens))
    found = []
    for head in shape.heads:
        with intervene(model, how.edits([head])):
            found.append(metric_values(metric, model(tokens)) - intact)
    values = torch.stack(found, dim=-1).unflatten(-1, (shape.n_layers, shape.n_heads))
    return head_scores(
        metric.name,
        f"{metric.text}: removed minus intact",
        values,
        generator,
        protocol=f"{len(tokens)} sequences; {how.text}",
        unit=metric.unit,
        maximum=None,
        nulls={OTHERS: mean_of_others(values)} if shape.n_heads > 1 else {},
        also={"intact": intact[:, None, None].expand_as(values)},
        level=level,
    )


def metric_values(metric: SequenceMetric, logits: Float[Tensor, "batch pos d_vocab"]) -> Float[Tensor, " batch"]:
    """On the CPU, in float64; `InputError` unless there is a finite number for each sequence."""
    values = metric(logits).double().cpu()
    if values.shape != (len(logits),) or not bool(values.isfinite().all()):
        raise InputError(
            f"the metric {metric.name!r} must give a finite number for each of {len(logits)} sequences, got "
            f"{list(values.shape)}" + ("" if bool(values.isfinite().all()) else " with NaN or infinity")
        )
    return values
