"""Which thresholds to audit with: a small search on the choosing half, which the reported numbers never see."""

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from analyses.audit import Criteria
from analyses.calibration.cases import Case

TOGETHER: dict[str, tuple[float, ...]] = {"pattern_mass": (0.3, 0.4, 0.5), "null_margin": (0.1, 0.2, 0.3)}
"""Thresholds of what a pattern must reach, in all combinations."""
ALONE: dict[str, tuple[float, ...]] = {
    "period_mass": (0.2, 0.4),
    "push_margin": (0.05, 0.1),
    "loss_share": (0.01, 0.05),
    "positional_share": (0.8,),
}
"""Thresholds that are changed one at a time, all others being the audit's own."""
TRIED = (*TOGETHER, *ALONE)


def candidates() -> tuple[Criteria, ...]:
    """The audit's own criteria, then every other set that is tried."""
    changes: list[dict[str, Any]] = [
        dict(zip(TOGETHER, values, strict=True)) for values in itertools.product(*TOGETHER.values())
    ]
    changes += [{name: value} for name, values in ALONE.items() for value in values]
    tried = [replace(Criteria(), **change) for change in changes]
    return (Criteria(), *(criteria for criteria in tried if criteria != Criteria()))


@dataclass(frozen=True, order=True)
class Errors:
    """What went wrong, the gravest first; of two sets of criteria the one with the smaller errors is better."""

    false_induction: int
    """Heads that are no induction heads and were called so, be it "contested"."""
    missed_induction: int
    """Induction heads of easy models that were not called so."""
    others: int
    """Roles of heads of easy models that were missed, or given falsely."""


def errors(cases: Sequence[Case]) -> Errors:
    """The errors among some cases."""
    easy = [case for case in cases if case.easy]
    false = sum(case.truth.told("induction") is False and "induction" in case.given for case in cases)
    missed = sum(bool(case.truth.told("induction")) and not case.called("induction") for case in easy)
    absent = sum(not case.called(role) for case in easy for role in case.truth.roles - {"induction"})
    wrong = sum(
        case.truth.told(role) is False and case.called(role)
        for case in easy
        for role in case.given.keys() - {"induction"}
    )
    return Errors(false, missed, absent + wrong)


@dataclass(frozen=True)
class Search:
    """Errors of all candidates on the choosing half; the audit's own criteria come first."""

    tried: tuple[tuple[Criteria, Errors], ...]

    @property
    def best(self) -> Criteria:
        """The criteria with the smallest errors, the audit's own where they are among them."""
        least = min(found for _, found in self.tried)
        return next(criteria for criteria, found in self.tried if found == least)

    def to_dict(self) -> dict[str, Any]:
        rows = [{name: getattr(criteria, name) for name in TRIED} | asdict(found) for criteria, found in self.tried]
        return {"tried": rows, "best": asdict(self.best), "own_is_best": self.best == self.tried[0][0]}


def search(cases: Sequence[Sequence[Sequence[Case]]]) -> Search:
    """From the cases of each model under each of `candidates()`."""
    by_criteria = zip(candidates(), zip(*cases, strict=True), strict=True)
    return Search(tuple((criteria, errors([case for part in each for case in part])) for criteria, each in by_criteria))
