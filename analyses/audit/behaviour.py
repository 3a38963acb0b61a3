"""What heads do on tokens, as evidence: attention where the role says, beyond its nulls, and the token it raises."""

from collections.abc import Iterable, Mapping

import torch

from analyses.audit.rules import above, below, every
from analyses.criteria import Criteria
from analyses.evidence import Evidence, Measurement
from interp.heads import HeadBattery, HeadScores
from interp.heads.battery import SHUFFLED
from interp.heads.push import PRESENT, TYPICAL
from interp.names import Head


class Behaviour:
    """Behaviour of each head, from the battery and the push, with intervals drawn from `generator`."""

    def __init__(self, battery: HeadBattery, push: HeadScores, criteria: Criteria, generator: torch.Generator):
        self.battery, self.push, self.criteria = battery, push, criteria
        self.contrasts = {
            (scores.name, null): scores.contrast(null, generator, criteria.interval_level)
            for scores in (*battery.scores.values(), push)
            for null in scores.nulls
        }

    def attends(self, name: str, head: Head) -> tuple[Measurement, ...]:
        """The attention score of this name, against its threshold and against each of its nulls."""
        scores, c = self.battery[name], self.criteria
        estimate, nulls = scores.interval[head], _nulls(scores, head)
        margins = [self.contrasts[name, null][head] for null in scores.nulls]
        smallest = min(margins, key=lambda margin: margin.mean)
        return (
            Measurement(
                name.replace("_", " "),
                estimate.mean,
                f"at least {c.pattern_mass:g}, with its whole interval",
                above(estimate, c.pattern_mass),
                scores.unit,
                estimate.low,
                estimate.high,
                nulls,
                c.pattern_mass,
            ),
            Measurement(
                f"{name.replace('_', ' ')} minus its highest null",
                smallest.mean,
                f"at least {c.null_margin:g} above every null, with its whole interval",
                every(above(margin, c.null_margin) for margin in margins),
                scores.unit,
                smallest.low,
                smallest.high,
                {},
                c.null_margin,
            ),
        )

    def matches_prefixes(self, head: Head) -> tuple[Measurement, ...]:
        """Prefix matching, at the main protocol and at every other period."""
        c = self.criteria
        others = {p: s.interval[head] for p, s in self.battery.by_period.items() if p != self.battery.protocol.period}
        measurements = self.attends("prefix_matching", head)
        if not others:
            return measurements
        period, lowest = min(others.items(), key=lambda item: item[1].mean)
        at_periods = Measurement(
            f"prefix matching at the worst of the periods {', '.join(map(str, sorted(others)))} (period {period})",
            lowest.mean,
            f"at least {c.period_mass:g} at every period, with its whole interval; undecided if at two or more and at "
            "least half of them",
            at_every(above(estimate, c.period_mass) for estimate in others.values()),
            self.battery["prefix_matching"].unit,
            lowest.low,
            lowest.high,
            _nulls(self.battery.by_period[period], head),
            c.period_mass,
        )
        return (*measurements, at_periods)

    def raises_next(self, head: Head) -> tuple[Measurement, ...]:
        """The next token's logit rises above a typical token's and above the present one's; copying."""
        return (
            self._push(TYPICAL, head, rises=True),
            self._push(PRESENT, head, rises=True),
            self.copying("copying_on_repeats", head, rises=True),
            self.copying("copying", head, rises=True, informs=True),
        )

    def lowers_next(self, head: Head) -> tuple[Measurement, ...]:
        """The next token's logit falls below that of a typical token of the sequence; no copying."""
        return (
            self._push(TYPICAL, head, rises=False),
            self.copying("copying_on_repeats", head, rises=False),
            self.copying("copying", head, rises=False, informs=True),
        )

    def _push(self, null: str, head: Head, rises: bool) -> Measurement:
        estimate, margin = self.contrasts[self.push.name, null][head], self.criteria.push_margin
        return Measurement(
            f"logit of the next token minus {null}'s, from this head alone",
            estimate.mean,
            f"at least {margin:g} nats {'up' if rises else 'down'}, with its whole interval",
            above(estimate, margin) if rises else below(estimate, -margin),
            self.push.unit,
            estimate.low,
            estimate.high,
            {},
            margin if rises else -margin,
        )

    def copying(self, name: str, head: Head, rises: bool = True, informs: bool = False) -> Measurement:
        """Above (below) what the same output gives with its pattern shuffled; 0 would ask for more than half of all."""
        scores = self.battery[name]
        estimate, margin = scores.interval[head], self.contrasts[name, SHUFFLED][head]
        where = "at the later copies of repeated tokens" if name.endswith("repeats") else "as published"
        return Measurement(
            f"copying evaluator, {where}",
            estimate.mean,
            f"{'above' if rises else 'below'} its null, with the whole interval of the difference",
            above(margin, 0.0) if rises else below(margin, 0.0),
            scores.unit,
            estimate.low,
            estimate.high,
            _nulls(scores, head),
            float(scores.nulls[SHUFFLED][head]),
            informs,
        )


def at_every(reached: Iterable[bool | None]) -> bool | None:
    """Whether all periods are; undecided where a head that follows tokens stops somewhere, as on long blocks.

    A head that looks a fixed distance back scores at one period, or at few that divide it.
    """
    found = list(reached)
    some_do = found.count(True) >= 2 and 2 * found.count(True) >= len(found)
    return None if False in found and some_do else every(found)


def behaviour_evidence(measurements: tuple[Measurement, ...]) -> Evidence:
    return Evidence("behaviour", measurements)


def _nulls(scores: HeadScores, head: Head) -> Mapping[str, float]:
    return {name: float(value[head]) for name, value in scores.nulls.items()}
