"""Is a head no more than its textbook pattern? Its attention replaced by an exact one, and how much that keeps.

The pattern of a head is replaced by one that follows from the tokens alone; its values and all else react. The share of
the ablation gap that this recovers, as in Scherlis' replication at Redwood Research (in the comments of Olsson et al.
2022, "In-context Learning and Induction Heads"; 99 % for exact previous-token attention in a two-layer model, 65 % for
exact induction, 10 % more with longer matches), stands beside that of a pattern that is as sharp but one position off.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from interp.ablation.ideal_patterns import IdealPattern
from interp.ablation.losses import QUANTITIES, device_of, scored_masks, sequence_means
from interp.ablation.removal import Over, To, removal
from interp.errors import InputError
from interp.hooks import intervene
from interp.names import Head, check, pattern_name
from interp.stats import Estimate, bootstrap_interval
from interp.stats.ratios import resample
from interp.weights.shape import shape_of

LEAST_GAP = 1e-6
"""Nats per token: what rounding in single precision may make of no gap at all."""


@dataclass(frozen=True, eq=False)
class Recovery:
    """What heads keep of their effect when they attend exactly as ideal patterns say, all of them at once.

    Shares are (loss ablated - loss idealised) / (loss ablated - loss intact), ratios of means over sequences: 0 for no
    better than ablated, 1 for as good as intact; below 0 and above 1 are possible. They are None where the gap is not
    above 0 with the stated confidence: then there is nothing to recover a share of.
    """

    patterns: dict[Head, IdealPattern]
    share: Estimate | None
    control: Estimate | None
    """The same of the wrong twins, one position off."""
    contrast: Estimate | None
    """Share minus control, sequence by sequence."""
    gap: Estimate
    """Loss ablated minus intact, nats per token."""
    losses: dict[str, float]
    """Mean loss of the scored tokens, nats per token: intact, ablated, idealised, shifted."""
    text: str
    """The tokens, and what stands in for the ablated heads."""

    def to_dict(self) -> dict[str, Any]:
        shares = {name: getattr(self, name) for name in ("share", "control", "contrast")}
        patterns = {
            str(head): {"name": p.name, "text": p.text, "control": p.shifted_text} for head, p in self.patterns.items()
        }
        return {"protocol": self.text, "patterns": patterns, "unit": QUANTITIES["loss"], "losses": self.losses} | {
            "gap": self.gap.to_dict(),
            **{name: share and share.to_dict() for name, share in shares.items()},
        }


def idealised_recovery(
    model: nn.Module,
    patterns: Mapping[Head, IdealPattern] | Mapping[tuple[int, int], IdealPattern],
    tokens: Int[Tensor, "batch pos"],
    scored: Bool[Tensor, "batch pos"],
    generator: torch.Generator,
    *,
    to: To = "mean",
    over: Over = "batch and positions",
    reference: Int[Tensor, "reference_batch reference_pos"] | None = None,
    level: float = 0.95,
) -> Recovery:
    """The share of the ablation gap of these heads that their ideal patterns recover, all heads together.

    The ablated baseline removes the outputs of the same heads, by `to`, `over` and `reference` of `removal`; `scored`
    and what is refused are as in `head_effects`. Intervals are a percentile bootstrap over sequences, the same
    resamples for share, control and contrast.
    """
    return idealised_recoveries(
        model, [patterns], tokens, scored, generator, to=to, over=over, reference=reference, level=level
    )[0]


def idealised_recoveries(
    model: nn.Module,
    cases: Sequence[Mapping[Head, IdealPattern] | Mapping[tuple[int, int], IdealPattern]],
    tokens: Int[Tensor, "batch pos"],
    scored: Bool[Tensor, "batch pos"],
    generator: torch.Generator,
    *,
    to: To = "mean",
    over: Over = "batch and positions",
    reference: Int[Tensor, "reference_batch reference_pos"] | None = None,
    level: float = 0.95,
) -> list[Recovery]:
    """`idealised_recovery` of several sets of heads, one after the other, with the same stand-ins and intact run."""
    shape, masks = shape_of(model), scored_masks(tokens, scored)
    checked = [{check(Head(*h), shape.n_layers, shape.n_heads): pattern for h, pattern in c.items()} for c in cases]
    if not checked or not all(checked):
        raise InputError("name at least one head and the pattern that it shall have")
    how = removal(model, tokens, to, over, reference, generator)
    intact, found = _losses(model, tokens, masks, {}), []
    text = f"{len(tokens)} sequences, {int(scored.sum())} scored tokens; ablated: {how.text}"
    for chosen in checked:
        runs: dict[str, Mapping[str, Any]] = {
            "ablated": how.edits(chosen),
            "idealised": idealised_edits(chosen, tokens),
            "shifted": idealised_edits({head: pattern.wrong for head, pattern in chosen.items()}, tokens),
        }
        losses = {"intact": intact} | {name: _losses(model, tokens, masks, edits) for name, edits in runs.items()}
        share, control, contrast = _shares(losses, generator, level)
        means = {name: float(values.mean()) for name, values in losses.items()}
        gap = bootstrap_interval(losses["ablated"] - intact, generator, level)
        found.append(Recovery(chosen, share, control, contrast, gap, means, text))
    return found


def idealised_edits(
    patterns: Mapping[Head, IdealPattern], tokens: Int[Tensor, "batch pos"]
) -> dict[str, Callable[[Tensor], Tensor]]:
    """For `intervene`, while the model runs on `tokens`: these heads attend as their patterns say."""
    by_layer: dict[int, dict[int, Tensor]] = {}
    for head, pattern in patterns.items():
        by_layer.setdefault(head[0], {})[head[1]] = pattern(tokens)
    return {pattern_name(layer): _put(ideal) for layer, ideal in by_layer.items()}


def _put(ideal: Mapping[int, Float[Tensor, "batch dest src"]]) -> Callable[[Tensor], Tensor]:
    def edit(pattern: Float[Tensor, "batch head dest src"]) -> Float[Tensor, "batch head dest src"]:
        for index, attention in ideal.items():
            pattern[:, index] = attention.to(pattern)
        return pattern

    return edit


def _losses(model: nn.Module, tokens: Tensor, masks: Tensor, edits: Mapping[str, Any]) -> Float[Tensor, " n"]:
    """Of the sequences that have scored tokens."""
    with intervene(model, edits) if edits else nullcontext():
        values = sequence_means(model, tokens.to(device_of(model)), masks)[0, 0]
    return values[~values.isnan()]


def _shares(
    losses: Mapping[str, Float[Tensor, " n"]], generator: torch.Generator, level: float
) -> tuple[Estimate | None, Estimate | None, Estimate | None]:
    gap = losses["ablated"] - losses["intact"]
    draws = resample(len(gap), generator, level)
    if float(gap.mean()) < LEAST_GAP or not draws.can_divide_by(gap):
        return None, None, None
    recovered = [losses["ablated"] - losses[name] for name in ("idealised", "shifted")]
    found = draws.ratio(torch.stack([*recovered, recovered[0] - recovered[1]], dim=-1), gap)
    return found[0], found[1], found[2]
