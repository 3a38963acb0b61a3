"""Which further heads a set needs beside it, so that enough of the in-context gain stays when all others are gone."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from interp.ablation.losses import scored_masks
from interp.ablation.removal import Removal, To, removal
from interp.in_context.carried import Gains
from interp.names import Head, check
from interp.stats import Estimate
from interp.stats.ratios import Resamples, resample
from interp.weights.shape import shape_of


@dataclass(frozen=True, eq=False)
class Support:
    """Heads found beside a set, in the order of the model, and the share of the gain that stays with both.

    They were chosen on the sequences that `kept` is measured on: it says what they do there, and is no test of them.
    """

    heads: tuple[Head, ...]
    kept: Estimate
    """Of the gain above `counting`, with all other heads removed."""
    enough: bool
    """Whether the whole interval reaches what was asked for."""

    def to_dict(self) -> dict[str, Any]:
        return {"heads": [str(head) for head in self.heads], "kept": self.kept.to_dict(), "enough": self.enough}


def supporting_heads(
    model: nn.Module,
    heads: Iterable[Head],
    tokens: Int[Tensor, "batch pos"],
    predictable: Bool[Tensor, "batch pos"],
    generator: torch.Generator,
    *,
    reference: Int[Tensor, "batch pos"] | None = None,
    counting: float = 0.0,
    least: float = 0.8,
    level: float = 0.95,
) -> Support | None:
    """Adds heads to a set one by one, each time the one with which most of the gain stays, until `least` of it does.

    gain = mean loss on the unpredictable minus that on the predictable tokens; the share is (gain with all other heads
    replaced by their mean output, or by what they write on `reference`, row by row - counting) / (gain of the whole
    model - counting), `counting` being what an order-free reader gains. Then every added head without which the share
    stays enough is taken out again, the earliest added first. Costs a run for every head that is left, at each step.
    None where the gain cannot be told from `counting`: then there is nothing to share. Raises `InputError` for heads
    that are not there.
    """
    shape, masks = shape_of(model), scored_masks(tokens, predictable)
    named = {check(Head(*head), shape.n_layers, shape.n_heads) for head in heads}
    to: To = "mean" if reference is None else "resample"
    how = removal(model, tokens, to, reference=reference, generator=generator)
    run = Gains(model, tokens, masks, tuple(shape.heads))
    whole = run.of(how, ()) - counting
    draws = resample(len(whole), generator, level)
    if not draws.can_divide_by(whole) or float(whole.mean()) <= 0:
        return None
    search = _Search(run, how, draws, whole, counting, least)
    added: list[Head] = []
    while not search.enough(named, added) and len(named) + len(added) < len(run.heads):
        left = [head for head in run.heads if head not in named and head not in added]
        added.append(max(left, key=lambda head: float(search.gain(named, [*added, head]).mean())))
    for head in tuple(added):
        fewer = [other for other in added if other != head]
        if search.enough(named, fewer):
            added = fewer
    kept = search.kept(named, added)
    return Support(tuple(sorted(added)), kept, kept.low >= least)


@dataclass(frozen=True, eq=False)
class _Search:
    run: Gains
    how: Removal
    draws: Resamples
    whole: Float[Tensor, " batch"]
    counting: float
    least: float

    def gain(self, named: set[Head], added: list[Head]) -> Float[Tensor, " batch"]:
        """Above counting, with these heads alone."""
        kept = named.union(added)
        return self.run.of(self.how, [head for head in self.run.heads if head not in kept]) - self.counting

    def kept(self, named: set[Head], added: list[Head]) -> Estimate:
        return self.draws.ratio(self.gain(named, added)[:, None], self.whole)[0]

    def enough(self, named: set[Head], added: list[Head]) -> bool:
        return self.kept(named, added).low >= self.least
