"""Brute force: what any set of heads carries of a model's gain, by taking it out and by keeping nothing else.

    gain(model) = [loss on unpredictable - loss on predictable tokens] - the same of the order-free reader   (nats)
    removed(S)   = 1 - gain(without S) / gain(whole)
    preserved(S) = gain(with S only) / gain(whole)

A head that is taken out writes what it writes on another of the sequences (resample ablation, one random cycle through
them), which mostly has another period; audits use the mean, zero, and what heads write on tokens that do not repeat.
Both shares are 1 for a circuit that is all there is; taking out more than that can give `removed` above 1, when what
stands in misleads.
"""

from contextlib import nullcontext
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor, nn

from analyses.calibration.trained.unseen import SEED, Questions
from interp.ablation.losses import sequence_means
from interp.ablation.removal import removal
from interp.hooks import intervene
from interp.names import Head
from interp.stats import Estimate
from interp.stats.ratios import Resamples, resample
from interp.weights.shape import shape_of

HeadSet = frozenset[Head]
DRAWS = 1000
SLACK = 0.05
"""By how much a score on all sequences may exceed what a fourth of them says, for a set to be looked at again."""
GAIN_SHARE = 0.1
"""One layer without smearing gets some 5 % by positions alone (a token that has just come does not come again)."""


class BruteForce:
    """Gains of sets of heads on one model's questions, each measured once; [batch] in nats, one for each sequence."""

    def __init__(self, model: nn.Module, asked: Questions, seed: int = SEED):
        self.model, self.asked = model, asked
        self.heads: tuple[Head, ...] = tuple(shape_of(model).heads)
        self.masks = asked.masks
        self.how = removal(model, asked.tokens, "resample", generator=torch.Generator().manual_seed(seed))
        self.resamples: Resamples = resample(len(asked.tokens), torch.Generator().manual_seed(seed), draws=DRAWS)
        self.known: dict[HeadSet, Tensor] = {}
        self.whole = self.gain(frozenset())

    def gain(self, without: HeadSet) -> Float[Tensor, " batch"]:
        """Of the model without these heads."""
        if without not in self.known:
            with intervene(self.model, self.how.edits(sorted(without))) if without else nullcontext():
                loss = sequence_means(self.model, self.asked.tokens, self.masks)[:, 0]
            self.known[without] = loss[1] - loss[0] - self.asked.order_free
        return self.known[without]

    @property
    def gain_of_whole(self) -> Estimate:
        """Of the whole model, as a share of the most that a model can gain."""
        return self.resamples.ratio(self.whole[:, None], torch.full_like(self.whole, self.asked.possible))[0]

    @property
    def has_gain(self) -> bool:
        """Whether the model gains more than `GAIN_SHARE` of what can be gained, with the whole interval."""
        return self.gain_of_whole.low > GAIN_SHARE

    def removed(self, heads: HeadSet) -> Estimate:
        """`InputError` without a gain to divide by, as `preserved`."""
        return self._share(self.whole - self.gain(heads))

    def preserved(self, heads: HeadSet) -> Estimate:
        return self._share(self.gain(self.rest(heads)))

    def rest(self, heads: HeadSet) -> HeadSet:
        return frozenset(self.heads) - heads

    def score(self, heads: HeadSet) -> float:
        """(min(removed, 1) + min(preserved, 1)) / 2: 1 for a circuit that is all there is."""
        return float(self._scores(heads)[0])

    def likely_bound(self, heads: HeadSet) -> float:
        """What `score` is at most, from what these heads preserve on some of the sequences, and `SLACK` more."""
        some = self.screen
        return (1 + min(float(some.gain(some.rest(heads)).mean() / some.whole.mean()), 1.0)) / 2 + SLACK

    @cached_property
    def screen(self) -> "BruteForce":
        """The same on every fourth sequence."""
        return BruteForce(self.model, self.asked.every(4))

    def surely_ahead(self, heads: HeadSet, of: HeadSet) -> bool:
        """Whether the whole paired interval of the difference of scores lies above 0."""
        margin = (self._scores(heads) - self._scores(of))[1:]
        return float(margin.kthvalue(self.resamples.tail + 1).values) > 0

    def _scores(self, heads: HeadSet) -> Float[Tensor, " draw"]:
        """On all sequences first, then on each resample."""
        parts = torch.stack([self.whole - self.gain(heads), self.gain(self.rest(heads)), self.whole], dim=1)
        means = torch.cat([parts.mean(0, keepdim=True), self.resamples.shares @ parts])
        return (means[:, :2] / means[:, 2:]).clamp_max(1.0).mean(1)

    def _share(self, numerator: Tensor) -> Estimate:
        return self.resamples.ratio(numerator[:, None], self.whole)[0]
