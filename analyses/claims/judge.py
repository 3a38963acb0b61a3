"""From measured parts to a verdict: a pure function of effect, control, interval and the margin set beforehand."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from interp.errors import InputError
from interp.stats import Estimate, student_t_interval

Kind = Literal["greater", "equivalent", "exact"]
Scale = Literal["difference", "log ratio"]
Outcome = Literal["holds", "does not hold here", "undecided at this budget"]
Word = Literal[
    "holds",
    "holds with a condition",
    "does not hold here",
    "undecided at this budget",
    "cannot be tested at this scale",
]


@dataclass(frozen=True)
class Part:
    """One comparison as it came out: values per seed of what is claimed about and of its control.

    kind "greater": treated - control (or the log of their ratio) is claimed to exceed 0, and `margin` is the smallest
    difference that would matter. "equivalent": it is claimed to lie within +-margin. "exact": the treated values are
    errors claimed to be at most `margin`, the control's are errors of the wrong way, which must exceed it.
    `resolution` is the step in which a value can change (one test image, say): seeds that agree to the digit are not
    taken to be more alike than rounding lets them look.
    """

    condition: str
    measure: str
    treated: tuple[float, ...]
    control: tuple[float, ...]
    kind: Kind
    margin: float
    scale: Scale = "difference"
    resolution: float = 0.0

    def __post_init__(self) -> None:
        if not self.treated or len(self.treated) != len(self.control):
            raise InputError(
                f"{self.condition}: a verdict needs a control measured as often as what it controls, got "
                f"{len(self.treated)} and {len(self.control)} values"
            )
        if not math.isfinite(self.margin) or self.margin < 0:
            raise InputError(f"{self.condition}: the margin must be finite and at least 0, got {self.margin}")

    @property
    def effects(self) -> tuple[float, ...]:
        """Paired by seed: differences, or logs of ratios; for errors the treated values themselves."""
        if self.kind == "exact":
            return self.treated
        pairs = zip(self.treated, self.control, strict=True)
        if self.scale == "difference":
            return tuple(t - c for t, c in pairs)
        return tuple(math.log(t / c) if t > 0 and c > 0 else math.nan for t, c in pairs)

    @property
    def estimate(self) -> Estimate | None:
        """Mean effect with its paired 95 % t-interval; None with fewer than two seeds, values not finite, or errors."""
        effects, n = self.effects, len(self.effects)
        if self.kind == "exact" or n < 2 or not all(map(math.isfinite, effects)):
            return None
        found = student_t_interval(torch.tensor(effects, dtype=torch.float64))
        return _widened(found, _rounding_half_width(self.resolution, n))

    @property
    def outcome(self) -> Outcome:
        """What this part alone says."""
        if self.kind == "exact":
            return _exact_outcome(self)
        estimate = self.estimate
        if estimate is None:
            return "undecided at this budget"
        inside = -self.margin <= estimate.low and estimate.high <= self.margin
        if self.kind == "equivalent":
            apart = estimate.low > self.margin or estimate.high < -self.margin
            return "holds" if inside else "does not hold here" if apart else "undecided at this budget"
        if estimate.high < 0 or inside:
            return "does not hold here"
        holds = estimate.low > 0 and estimate.mean >= self.margin
        return "holds" if holds else "undecided at this budget"


@dataclass(frozen=True)
class Verdict:
    """The word, and, where it holds under some conditions only, which (and which not)."""

    word: Word
    condition: str = ""

    def __str__(self) -> str:
        return f"{self.word}: {self.condition}" if self.condition else self.word


def judge(parts: Sequence[Part], untestable: bool = False) -> Verdict:
    """All parts hold: *holds*. Some do: *holds with a condition*. None, and all fail: *does not hold here*.

    Otherwise *undecided at this budget*; a claim declared `untestable` *cannot be tested at this scale*, whatever was
    checked instead. Raises `InputError` without any part: there is no verdict without a control.
    """
    if untestable:
        return Verdict("cannot be tested at this scale")
    if not parts:
        raise InputError("a claim needs at least one comparison with a control before there can be a verdict")
    outcomes = [part.outcome for part in parts]
    if all(o == "holds" for o in outcomes):
        return Verdict("holds")
    if any(o == "holds" for o in outcomes):
        return Verdict("holds with a condition", _condition(parts))
    if all(o == "does not hold here" for o in outcomes):
        return Verdict("does not hold here")
    return Verdict("undecided at this budget")


def _condition(parts: Sequence[Part]) -> str:
    """For which conditions it holds, for which not, and which are open."""
    words = {"holds": "holds for", "does not hold here": "not for", "undecided at this budget": "undecided for"}
    said = []
    for outcome, start in words.items():
        conditions = [part.condition for part in parts if part.outcome == outcome]
        if conditions:
            said.append(f"{start} {', '.join(conditions)}")
    return "; ".join(said)


def _exact_outcome(part: Part) -> Outcome:
    """Every error within the tolerance, and every error of the wrong way beyond it."""
    if not all(map(math.isfinite, part.treated)) or max(part.treated) > part.margin:
        return "does not hold here"
    tells = all(c > part.margin for c in part.control)  # an infinite error of the wrong way is a large one
    return "holds" if tells else "undecided at this budget"


def _rounding_half_width(resolution: float, n: int) -> float:
    """Half the interval's width if seeds differed by rounding to `resolution` alone (uniform, sd = step / sqrt 12)."""
    if resolution <= 0:
        return 0.0
    from scipy.stats import t

    return float(t.ppf(0.975, n - 1)) * resolution / math.sqrt(12 * n)


def _widened(found: Estimate, half: float) -> Estimate:
    """The interval, at least `half` to either side of its mean."""
    low, high = min(found.low, found.mean - half), max(found.high, found.mean + half)
    return Estimate(found.mean, low, high, found.n, found.level, f"paired {found.method}")
