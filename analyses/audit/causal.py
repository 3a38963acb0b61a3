"""What breaks when a head is removed, as evidence: loss on predictable tokens, and the prefix matching it feeds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from analyses.audit.effects import Effects, measure_backup, measure_effects
from analyses.audit.feeders import is_feeder, name_feeders
from analyses.audit.feeding import Feeding, measure_feeding
from analyses.audit.intact import Intact
from analyses.audit.matching import Edge
from analyses.audit.mechanism import Way, smearing_lost
from analyses.audit.rules import above, below, every, some
from analyses.criteria import Criteria
from analyses.evidence import Feeder, Measurement
from interp.ablation import head_outputs
from interp.heads import HeadBattery
from interp.names import Head
from interp.stats import Estimate
from interp.weights import TransformerWeights


class Causal:
    """Causal evidence of each head, on the battery's repeated tokens.

    Feeding is measured for heads that match prefixes, where the input of one head can be changed by itself; so is what
    each of them costs when the others are gone too, since heads that do the same work stand in for each other.
    """

    def __init__(
        self,
        intact: Intact,
        weights: TransformerWeights,
        battery: HeadBattery,
        criteria: Criteria,
        generator: torch.Generator,
        edges: Mapping[Head, tuple[Edge, ...]],
        heads: Sequence[Head] | None = None,
        feeders: Mapping[Head, tuple[Head, ...]] | None = None,
    ):
        """`heads`: those to remove, None for all; `feeders`: of each the earlier heads to take out by themselves."""
        self.criteria, self.edges, self.intact, model = criteria, edges, intact, intact.model
        level, tokens, scored = criteria.interval_level, battery.tokens, battery.predictable
        self.effects: Effects = measure_effects(model, tokens, scored, generator, level, heads)
        self.gain = math.log(weights.d_vocab) - self.effects.loss
        high = battery["prefix_matching"].interval.high
        matching = [Head(*at) for at in (high >= criteria.pattern_mass).nonzero().tolist()]
        matching = [head for head in matching if heads is None or head in heads]
        self.feedings: dict[Head, Feeding] = {}
        above_first = [head for head in matching if head.layer > 0]
        if above_first and not intact.closed:
            outputs = head_outputs(model, tokens, weights=intact.weights)
            for head in above_first:
                tried = None if feeders is None else feeders[head]
                self.feedings[head] = measure_feeding(model, head, tokens, scored, generator, criteria, outputs, tried)
        self.smearing: dict[Head, Estimate] = {}
        if weights.smear is not None:
            self.smearing = {head: smearing_lost(model, head, tokens, generator, level) for head in matching}
        self.backup = measure_backup(model, tokens, scored, matching, generator, level)

    def reading(self, role: str, head: Head) -> tuple[Measurement, ...]:
        """Removing a head that raises the next token must cost loss there, alone or once its like are gone, and more
        than elsewhere.

        One that lowers it (anti-copying) or leaves it alone must not cost loss by its own output: not decided here.
        """
        if role != "induction":
            return (*self._shown(head), self._read(head))
        return (*self._decided(self.costs(head), self._costs_beside(head)), self._specific(head), self._read(head))

    def place(self, role: str, head: Head) -> tuple[Measurement, ...]:
        """Removing a head that looks at a place must cost loss, or the prefix matching of a head that reads it."""
        if role == "first-token":  # a resting place: that nothing breaks without it is what the role says
            return self._shown(head)
        return self._decided(self.costs(head), self._feeds(head))

    def feeders(self, head: Head) -> tuple[tuple[Feeder, ...], tuple[str, ...]]:
        """The earlier heads it reads by K or Q, and what has to be said about them."""
        if head.layer == 0:
            smeared = head in self.smearing
            return (), () if smeared else ("in the first layer there is no earlier head to read, and no smeared key",)
        if head not in self.feedings:
            why = f"cannot be measured: {self.intact.closed}" if self.intact.closed else "was not measured"
            return (), (f"which earlier head it reads {why}",)
        return name_feeders(self.feedings[head], self.edges.get(head, ()), self.criteria)

    def lost(self, head: Head) -> dict[Way, Estimate]:
        """The share of its prefix matching that each mechanism could carry, as far as it was measured."""
        by_channel = self.feedings[head].by_channel if head in self.feedings else {}
        found: dict[Way, Estimate] = {"K": by_channel["K"], "Q": by_channel["Q"]} if by_channel else {}
        return found | ({"smeared": self.smearing[head]} if head in self.smearing else {})

    def stand_ins(self, head: Head) -> tuple[str, ...]:
        """Says so where only the removal of all heads of its kind shows what it does."""
        beside, alone = self._costs_beside(head), self.costs(head)[0]
        if beside is None or beside.holds is not True or alone.holds is True:
            return ()
        return (
            f"removed alone it costs {alone.value:.3g} nats, beside the other heads that match prefixes "
            f"{beside.value:.3g}: they stand in for it",
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "effects": self.effects.to_dict(),
            "backup": {str(head): {to: e.to_dict() for to, e in by.items()} for head, by in self.backup.items()},
            "gain": self.gain,
            "smearing": {str(head): estimate.to_dict() for head, estimate in self.smearing.items()},
            "feeding": {str(head): feeding.to_dict() for head, feeding in self.feedings.items()},
        }

    def costs(self, head: Head) -> tuple[Measurement, ...]:
        """The smaller of the two effects decides "for", the larger "against"."""
        by = {to: estimates[head] for to, estimates in self.effects.predictable.items()}
        least, most = min(by, key=lambda r: by[r].mean), max(by, key=lambda r: by[r].mean)
        high, low = self.criteria.loss_share * self.gain, self.criteria.no_loss_share * self.gain
        holds: bool | None = None
        rule = (
            f"at least {self.criteria.loss_share:.1%} of the model's gain of {self.gain:.3g} nats, with its interval "
            f"above 0; against, if surely under {self.criteria.no_loss_share:.1%}"
        )
        if self.gain <= 0:
            rule = f"cannot decide: on these tokens the model is {-self.gain:.3g} nats worse than chance"
        if self.gain > 0:
            if by[least].low > 0 and by[least].mean >= high:
                holds = True
            elif below(by[most], low):
                holds = False
        deciding = Measurement(
            f"loss on predictable tokens when removed (by {least}, the smaller effect)",
            by[least].mean,
            rule,
            holds,
            "nats per token",
            by[least].low,
            by[least].high,
            threshold=high,
            compared=self.effects.comparisons(least, head),
        )
        return (deciding, self._informing(f"the same by {most}", by[most]))

    def _costs_beside(self, head: Head) -> Measurement | None:
        """The loss that removing it adds when all other heads that match prefixes are removed too."""
        if head not in self.backup:
            return None
        to, estimate = min(self.backup[head].items(), key=lambda item: item[1].mean)
        return Measurement(
            f"loss it adds when removed beside the other heads that match prefixes (by {to}, the smaller effect)",
            estimate.mean,
            f"at least {self.criteria.loss_share:.1%} of the model's gain of {self.gain:.3g} nats, with its interval "
            "above 0, decides for it: they may stand in for each other",
            True if self._costly(estimate) else None,
            "nats per token",
            estimate.low,
            estimate.high,
            threshold=self.criteria.loss_share * self.gain,
            informs=True,
        )

    def _decided(self, costs: tuple[Measurement, ...], other: Measurement | None) -> tuple[Measurement, ...]:
        """Either suffices: the one that is for it decides and comes first, the other is for information."""
        first, *rest = costs
        if other is None:
            return costs
        if first.holds is True or other.holds is not True:
            return (first, other, *rest)
        return (replace(other, informs=False), replace(first, informs=True), *rest)

    def _shown(self, head: Head) -> tuple[Measurement, ...]:
        return tuple(
            self._informing(f"loss on predictable tokens when removed (by {to})", estimates[head])
            for to, estimates in self.effects.predictable.items()
        )

    def _specific(self, head: Head) -> Measurement:
        estimates = [e[head] for e in self.effects.specific.values()]
        smallest = min(estimates, key=lambda e: e.mean)
        return Measurement(
            "the same minus the effect on the other tokens",
            smallest.mean,
            "above 0, with its whole interval",
            every(above(e, 0.0) for e in estimates),
            "nats per token",
            smallest.low,
            smallest.high,
            threshold=0.0,
        )

    def _read(self, head: Head) -> Measurement:
        """Whether what it matches by comes from earlier heads, as it must above the first layer."""
        if not self.lost(head):
            return Measurement(
                "prefix matching lost without earlier heads", math.nan, "not measured", None, informs=True
            )
        best = max(self.lost(head).items(), key=lambda item: item[1].mean)
        smeared = "its keys are its own alone (smear 1)"
        what = smeared if best[0] == "smeared" else f"all earlier heads leave its {best[0]} input"
        return Measurement(
            f"share of prefix matching lost when {what}",
            best[1].mean,
            f"at least {self.criteria.feed_drop:.0%}, with its whole interval",
            above(best[1], self.criteria.feed_drop),
            "share of its prefix matching",
            best[1].low,
            best[1].high,
            threshold=self.criteria.feed_drop,
        )

    def _feeds(self, head: Head) -> Measurement | None:
        """The prefix matching that a later head loses most of without this one."""
        losses = [
            (loss, feeding) for feeding in self.feedings.values() for loss in feeding.losses if loss.earlier == head
        ]
        if not losses:
            return None
        loss, feeding = max(losses, key=lambda pair: pair[0].without.mean)
        holds = some(is_feeder(of, each, self.criteria) for each, of in losses)
        return Measurement(
            f"share of {feeding.later}'s prefix matching lost when this head leaves its {loss.channel} input",
            loss.without.mean,
            f"at least {self.criteria.feed_drop:.0%} for some later head, or this head alone keeps as much, or "
            "is one of the fewest that keep it together",
            holds,
            "share of its prefix matching",
            loss.without.low,
            loss.without.high,
            threshold=self.criteria.feed_drop,
            informs=True,
        )

    def _costly(self, estimate: Estimate) -> bool:
        return self.gain > 0 and estimate.low > 0 and estimate.mean >= self.criteria.loss_share * self.gain

    def _informing(self, name: str, estimate: Estimate) -> Measurement:
        return Measurement(
            name, estimate.mean, "for information", None, "nats per token", estimate.low, estimate.high, informs=True
        )
