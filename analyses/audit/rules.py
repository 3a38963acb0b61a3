"""From a number with its interval to "holds", "does not hold" or "cannot be told"."""

import math
from collections.abc import Iterable

from interp.stats import Estimate


def above(estimate: Estimate, threshold: float) -> bool | None:
    """Whether the whole interval lies at or above the threshold; None if it straddles it, or is not finite."""
    if not known(estimate, threshold):
        return None
    if estimate.low >= threshold:
        return True
    return None if estimate.high >= threshold else False


def below(estimate: Estimate, threshold: float) -> bool | None:
    """Whether the whole interval lies at or below the threshold; None if it straddles it, or is not finite."""
    if not known(estimate, threshold):
        return None
    if estimate.high <= threshold:
        return True
    return None if estimate.low <= threshold else False


def known(estimate: Estimate, threshold: float) -> bool:
    """Whether all four numbers are finite: NaN compares as false with everything, which must not read as "no"."""
    return all(map(math.isfinite, (estimate.mean, estimate.low, estimate.high, threshold)))


def every(holds: Iterable[bool | None]) -> bool | None:
    """True if all are, False if one is, None if that hangs on one that cannot be told."""
    found = list(holds)
    if False in found:
        return False
    return None if None in found else True


def some(holds: Iterable[bool | None]) -> bool | None:
    """True if one is, False if none is, None if that hangs on one that cannot be told."""
    found = list(holds)
    if True in found:
        return True
    return None if None in found else False


def agreed(holds: Iterable[bool | None]) -> bool | None:
    """What all say; None if they differ."""
    found = set(holds)
    return found.pop() if len(found) == 1 else None
