"""How often verdicts with each confidence word were right, on models whose circuit is known: measured by calibration.

The numbers come with the package, in analyses/calibration/results.json; without that file words stand alone.
"""

import json
import math
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from analyses.evidence import CONFIDENCE, Confidence

RESULTS = Path(__file__).parent / "calibration" / "results.json"
TRAINED = RESULTS.parent / "trained" / "results.json"


@dataclass(frozen=True)
class Reliability:
    """Of one word: `right` of `cases` verdicts, with the interval `low..high` of that share."""

    right: int
    cases: int
    low: float
    high: float
    level: float = 0.95

    def __str__(self) -> str:
        if self.cases == 0:
            return "no such verdict came up on models whose circuit is known"
        return (
            f"on models whose circuit is known, {self.right} of {self.cases} such verdicts were right "
            f"({100 * self.level:g} % interval {self.low:.3f} to {self.high:.3f})"
        )


@cache
def measured_reliability(path: Path = RESULTS) -> dict[Confidence, Reliability]:
    """By word; empty where calibration has left no results, or none that can be read."""
    try:
        stored: Any = json.loads(path.read_text(encoding="utf-8"))["reliability"]
        return {word: read(stored[word]) for word in CONFIDENCE if word in stored}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def read(found: dict[str, Any]) -> Reliability:
    """One word's numbers; an interval that does not exist (no cases) is from 0 to 1."""
    low, high = (end if end is not None else default for end, default in ((found["low"], 0.0), (found["high"], 1.0)))
    if not math.isfinite(low + high):
        low, high = 0.0, 1.0
    return Reliability(int(found["right"]), int(found["cases"]), float(low), float(high))


def meaning(word: Confidence, own_criteria: bool = False, path: Path = RESULTS) -> str:
    """What a confidence word means, and how often it was right; with criteria of one's own nobody has measured that."""
    known = measured_reliability(path).get(word)
    said = "how often that is right was not measured with these criteria" if own_criteria else known
    return CONFIDENCE[word] + (f"; {said}" if said else "")


def against_brute_force(path: Path = TRAINED) -> str:
    """How often circuits named in trained models held against brute force, in a sentence; empty if nobody measured."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["totals"]["with_gain"]
        return (
            f"circuits named in trained models met every bar of brute force in {found['count']} of {found['of']} "
            f"(95 % interval {found['low']:.2f} to {found['high']:.2f}; README, How far to trust a verdict)"
        )
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def to_dict(own_criteria: bool = False, path: Path = RESULTS) -> dict[str, Any] | None:
    """For report.json; None where nothing was measured, as with criteria of one's own."""
    known = {} if own_criteria else measured_reliability(path)
    return {word: asdict(each) for word, each in known.items()} or None
