"""Where the right answer becomes readable, and what each head brings to that: lenses as evidence."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from analyses.audit.in_context import fresh_tokens
from analyses.criteria import Criteria
from analyses.evidence import Measurement
from analyses.tuned import Tuned, tune
from interp import errors
from interp.heads import HeadBattery, HeadScores
from interp.lens import LensByHead, lens_by_head
from interp.lens.by_head import FRESH
from interp.names import Head
from interp.stats import Estimate
from interp.stats.ratios import resample
from toy_models.errors import InputError

MOST_LOGITS = 5e8
"""Logits of all the lens' readings together; a model that needs more is not read."""
LEAST = 0.1
"""Nats that a head must bring to be named, and a layer for the shares of its heads to mean something; ours."""
RULE = "for information: beside the mean of its layer's other heads and the same on fresh tokens"


@dataclass(frozen=True, eq=False)
class Readable:
    """The logit lens by layer and by head on the battery's predictable tokens; the tuned lens where it was trained."""

    lens: LensByHead
    tuned: Tuned | None
    shares: dict[Head, Estimate]
    """What a head brings (beside the others) as a share of what its layer brings, where that is 0.1 nats or more."""
    text: str
    no_tuned: str = "not asked for (--lens tuned)"
    """Why there is no tuned lens."""

    def of(self, head: Head) -> tuple[Measurement, ...]:
        """How much better the logit lens knows the right token for what this head writes, as measurements that inform.

        The log-probability behind its layer with the head minus without it, nats, beside its nulls; the same with no
        other head of the layer; and its share of what the layer brings.
        """
        before, after = self.lens.before[head.layer], self.lens.after[head.layer]
        around = f"{before.mean:.3g} before its layer, {after.mean:.3g} after"
        name = f"log-probability of the right token that it brings to the logit lens ({around}), beside the other heads"
        found = [
            _informing(name, self.lens.brought, head),
            _informing("the same, alone of its layer", self.lens.alone, head),
        ]
        if head in self.shares:
            share = self.shares[head]
            name, unit = "the same beside the others, as a share of what its layer brings", "share"
            found.append(
                Measurement(name, share.mean, "for information", None, unit, share.low, share.high, informs=True)
            )
        return tuple(found)

    @property
    def bringers(self) -> list[Head]:
        """Heads of the layer at which the answer becomes readable that bring it, those that bring most first.

        Alone of their layer, surely 0.1 nats or more, and more than on fresh tokens; none where nothing is readable.
        """
        point, alone = self.lens.readable.point, self.lens.alone
        if point is None or not point.startswith("blocks."):
            return []
        layer = int(point.split(".")[1])
        least = alone.nulls[FRESH][layer].clamp_min(LEAST)
        found = (alone.interval.low[layer] > least).nonzero().flatten().tolist()
        return sorted((Head(layer, index) for index in found), key=lambda head: -float(alone.score[head]))

    def to_dict(self) -> dict[str, Any]:
        return {
            "protocol": self.text,
            "logit": self.lens.to_dict(),
            "shares": {str(head): share.to_dict() for head, share in self.shares.items()},
            "tuned": None if self.tuned is None else self.tuned.to_dict(),
            "no_tuned": "" if self.tuned is not None else self.no_tuned,
        }


def measure_readable(
    model: nn.Module, battery: HeadBattery, criteria: Criteria, seed: int, *, tuned: bool = False
) -> Readable | None:
    """From its own generator; None where the model is too large for it. Training the tuned lens takes seconds."""
    generator, level = torch.Generator().manual_seed(seed), criteria.interval_level
    tokens, scored = battery.tokens, battery.predictable
    n_layers, n_heads = battery["prefix_matching"].score.shape
    if 4 * tokens.numel() * battery.protocol.d_vocab * n_layers * (n_heads + 1) > MOST_LOGITS:
        return None
    text = f"{len(tokens)} sequences: {battery.protocol.text}; tokens that an earlier copy predicts"
    fresh = fresh_tokens(battery.protocol, len(tokens), generator)
    lens = lens_by_head(model, tokens, generator, scored, fresh, protocol=text, level=level)
    shares: dict[Head, Estimate] = {}
    draws = resample(len(lens.rises), generator, level)
    for layer, rise in enumerate(lens.rises.T):
        if float(rise.mean()) >= LEAST and draws.can_divide_by(rise):
            found = draws.ratio(lens.brought.samples[:, layer], rise)
            shares |= {Head(layer, index): found[index] for index in range(n_heads)}
    trained, reason = None, Readable.no_tuned
    if tuned:
        try:
            trained, reason = tune(model, battery.protocol, tokens, seed + 1), ""
        except (InputError, errors.InputError) as error:
            reason = str(error)
    return Readable(lens, trained, shares, text, reason)


def _informing(name: str, scores: HeadScores, head: Head) -> Measurement:
    estimate = scores.interval[head]
    nulls = {null: float(value[head]) for null, value in scores.nulls.items()}
    return Measurement(name, estimate.mean, RULE, None, "nats", estimate.low, estimate.high, nulls, informs=True)
