"""The role "positional": a pattern that is a function of position, and of other places than the usual three."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from analyses.audit.measured import Found, Material, asked_once, claim_of, is_open, measured
from analyses.audit.rules import above
from analyses.audit.weight_evidence import THROUGH_EARLIER
from analyses.evidence import Claim, Measurement
from interp.circuits.implied import positional_pattern
from interp.heads.attended import SHUFFLED
from interp.heads.positional import PositionalReadings, even_attention, positional_readings, scattered_tokens
from interp.heads.stimuli import fresh_control
from interp.names import Head, pattern_name
from interp.stats import Estimate, Estimates, bootstrap_intervals
from interp.stats.ratios import resample

SCATTERED = "random tokens that come again at random distances"


class Placed:
    """Patterns on scattered tokens; where attention rests late in a sequence, there and on fresh tokens."""

    def __init__(self, material: Material):
        self.material = material
        self.readings: PositionalReadings | None = None
        if "behaviour" in material.skip:
            return
        m, level = material, material.criteria.interval_level
        tokens = scattered_tokens(m.battery.protocol, len(m.battery.tokens), m.generator)
        self.readings = positional_readings(m.model, tokens, SCATTERED)
        fresh = fresh_control(m.battery.tokens, m.battery.protocol, m.generator).tokens
        rests = positional_readings(m.model, fresh, "tokens that do not repeat").late_first
        intervals = [
            bootstrap_intervals(x, m.generator, level) for x in (self.readings.share, self.readings.unevenness)
        ]
        self.share, self.unevenness = intervals
        self.late: dict[str, Estimates] = {
            SCATTERED: bootstrap_intervals(self.readings.late_first, m.generator, level),
            "tokens that do not repeat": bootstrap_intervals(rests, m.generator, level),
        }

    @asked_once
    def claim(self, head: Head) -> Claim:
        behaviour, weights = self._behaviour(head), self._weights(head)
        causal: Found = ()
        if "causal" not in self.material.skip and is_open(behaviour):
            causal = self._held(head)
        return claim_of("positional", {"behaviour": behaviour, "weights": weights, "causal": causal})

    def rests_late(self, head: Head) -> Measurement:
        """Attention on position 0 late in a sequence, where looking back a fixed distance no longer ends there."""
        text, estimate = max(self.late.items(), key=lambda item: float(item[1].mean[head]))
        least = self.material.criteria.pattern_mass
        return measured(
            f"attention on position 0 from the second half of a sequence, on {text}",
            estimate[head],
            f"at least {least:g}, with its whole interval, on {' or '.join(self.late)}",
            above(estimate[head], least),
            "share of attention",
            least,
        )

    def to_dict(self) -> dict[str, Any]:
        if self.readings is None:
            return {}
        late = {text: estimates.to_dict() for text, estimates in self.late.items()}
        parts = {"share": self.share.to_dict(), "unevenness": self.unevenness.to_dict(), "late first": late}
        return {"protocol": self.readings.text, **parts}

    def _behaviour(self, head: Head) -> Found:
        if self.readings is None:
            return ()
        c = self.material.criteria
        share, uneven = self.share[head], self.unevenness[head]
        return (
            measured(
                "share of the pattern (beyond even attention) that is the mean pattern of other sequences",
                share,
                f"at least {c.positional_share:g}, with its whole interval",
                above(share, c.positional_share),
                "share of squared attention",
                c.positional_share,
                {SHUFFLED: 0.0},
            ),
            measured(
                "distance from even attention",
                uneven,
                f"at least {c.pattern_mass:g}, with its whole interval",
                above(uneven, c.pattern_mass),
                "total variation",
                c.pattern_mass,
            ),
        )

    def _weights(self, head: Head) -> Found:
        """Positions alone must imply the pattern that was seen."""
        m = self.material
        if self.readings is None or "weights" in m.skip:
            return ()
        seen = self.readings.mean[head]
        length = len(seen)
        implied = positional_pattern(m.weights.to(device="cpu"), head, m.bos)[:length, :length].to(seen)
        value, even, margin = (
            overlap(implied, seen),
            overlap(even_attention(length), seen),
            m.criteria.positional_margin,
        )
        return (
            Measurement(
                "overlap of the mean pattern with the one that positions alone imply",
                value,
                f"at least {margin:g} above that of even attention{THROUGH_EARLIER if head.layer else ''}",
                value - even >= margin or (None if head.layer else False),
                "share of attention",
                nulls={"even attention": even},
                threshold=even + margin,
            ),
        )

    def _held(self, head: Head) -> Found:
        """With its mean pattern in place of its own, it must still do what removing it undoes."""
        c, intact = self.material.criteria, self.material.intact
        removed = intact.without(head, "mean")
        least = c.no_loss_share * intact.information.mean
        effect = intact.estimate(removed)
        name = "share of its effect on predictions that is kept with its mean pattern in place of its own"
        if effect.low <= least:
            rule = f"cannot decide: removing it moves predictions by {effect} nats, and {least:.2g} is next to nothing"
            return (Measurement(name, float("nan"), rule, None),)
        assert self.readings is not None
        mean = self.readings.mean[head]

        def put(pattern: Tensor) -> Tensor:
            pattern[:, head.index] = mean.to(pattern)
            return pattern

        lost = intact.moved({pattern_name(head.layer): put})
        draws = resample(len(lost), self.material.generator, c.interval_level)
        ratio = draws.ratio(lost[:, None], removed)[0]
        kept = Estimate(1 - ratio.mean, 1 - ratio.high, 1 - ratio.low, ratio.n, ratio.level, ratio.method)
        rule = f"at least {c.positional_share:g}, with its whole interval"
        return (measured(name, kept, rule, above(kept, c.positional_share), "share", c.positional_share),)


def overlap(a: Float[Tensor, "dest src"], b: Float[Tensor, "dest src"]) -> float:
    """sum_j min(a_ij, b_ij), mean over queries i >= 1: 1 for equal patterns."""
    return float(torch.minimum(a.double(), b.double())[1:].sum(-1).mean())
