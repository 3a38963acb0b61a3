"""Shares of cases with their intervals: precision, recall, false positives, what a confidence word is worth.

Heads of one model are not independent, so models are what is resampled.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from analyses.calibration.cases import Case
from analyses.evidence import Confidence
from interp.stats import clopper_pearson

LEVEL = 0.95
RESAMPLES = 2000
Outcome = tuple[int, bool]
"""The model of a case, and whether it turned out so."""


@dataclass(frozen=True)
class Share:
    """`right` of `cases`, in `models` models, with a 95 % interval; without cases the interval is 0 to 1."""

    right: int
    cases: int
    models: int
    low: float
    high: float
    method: str

    @property
    def value(self) -> float | None:
        return self.right / self.cases if self.cases else None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def share(outcomes: Iterable[Outcome], seed: int = 0) -> Share:
    """The share of outcomes that are true, with its interval over models.

    Models are drawn again with replacement, with all their cases: the percentiles of (sum of right) / (sum of cases)
    over 2000 such draws (cluster bootstrap; Cameron, Gelbach & Miller 2008). Where all cases agree there is nothing to
    resample: the interval is then that of Clopper & Pearson with a model as one trial.
    """
    by_model: dict[int, list[int]] = {}
    for model, so in outcomes:
        counted = by_model.setdefault(model, [0, 0])
        counted[0] += so
        counted[1] += 1
    if not by_model:
        return Share(0, 0, 0, 0.0, 1.0, "no cases")
    counts = torch.tensor(list(by_model.values()), dtype=torch.float64)
    right, cases = (int(total) for total in counts.sum(0))
    models = len(counts)
    if right in (0, cases):
        exact = clopper_pearson(models if right else 0, models, LEVEL)
        return Share(right, cases, models, exact.low, exact.high, "Clopper-Pearson over models")
    generator = torch.Generator().manual_seed(seed)
    picks = torch.randint(models, (RESAMPLES, models), generator=generator)
    totals = counts[picks].sum(1)
    tails = torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=torch.float64)
    low, high = (totals[:, 0] / totals[:, 1]).quantile(tails).tolist()
    return Share(right, cases, models, low, high, f"percentile bootstrap over models, {RESAMPLES} resamples")


@dataclass(frozen=True)
class RoleScores:
    """Of the heads that are given a role, how many have it (precision); of those that have it, how many are given it
    (recall); of those that do not, how many are given it (false positives). Heads of which the truth is silent about
    this role count in none."""

    role: str
    precision: Share
    recall: Share
    false_positives: Share

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name).to_dict() for name in ("precision", "recall", "false_positives")}


def role_scores(cases: Sequence[Case], role: str) -> RoleScores:
    """Precision, recall and false-positive rate of one role, weak or above counting as given."""
    known = [(case.model, told, case.called(role)) for case in cases if (told := case.truth.told(role)) is not None]
    return RoleScores(
        role,
        precision=share((model, told) for model, told, called in known if called),
        recall=share((model, called) for model, told, called in known if told),
        false_positives=share((model, called) for model, told, called in known if not told),
    )


def reliability(cases: Sequence[Case], words: Iterable[Confidence]) -> dict[Confidence, Share]:
    """For each confidence word: of all roles given with it, how many the head has."""
    return {
        word: share(
            (case.model, told)
            for case in cases
            for role, given in case.given.items()
            if given == word and (told := case.truth.told(role)) is not None
        )
        for word in words
    }


def confusion(cases: Sequence[Case]) -> dict[str, dict[str, int]]:
    """Of the induction heads of each mechanism, how many were given which; "none" for those not called induction."""
    found: dict[str, dict[str, int]] = {}
    for case in cases:
        if case.truth.mechanism is not None:
            given = (case.mechanism or "not given") if case.called("induction") else "none"
            row = found.setdefault(case.truth.mechanism, {})
            row[given] = row.get(given, 0) + 1
    return found


def swapped(cases: Sequence[Case]) -> list[Case]:
    """Induction heads by K-composition that were said to be by Q-composition, or the other way."""
    pair = {"K-composition", "Q-composition"}
    return [case for case in cases if case.called("induction") and {case.truth.mechanism, case.mechanism} == pair]


def recall_by_level(cases: Sequence[Case], role: str, levels: Sequence[float]) -> dict[float, Share]:
    """Recall of a role at each noise level."""
    having = [case for case in cases if case.truth.told(role)]
    return {level: share((case.model, case.called(role)) for case in having if case.level == level) for level in levels}


def falls_at(by_level: dict[float, Share], below: float = 0.9) -> float | None:
    """The first level from which on recall stays under `below`; None if it never falls."""
    found = None
    for level, recall in sorted(by_level.items(), reverse=True):
        if recall.value is not None and recall.value >= below:
            break
        if recall.value is not None:
            found = level
    return found
