"""Cases whose truth and verdict are set by the test."""

from analyses.calibration.cases import Case
from analyses.calibration.truths import HeadTruth


def case(
    roles=(),
    given=None,
    *,
    model=0,
    silent=(),
    group="circuit",
    half="reporting",
    level=0.0,
    noise=0.0,
    kept=1.0,
    mechanism=None,
    named=None,
    made_as="induction",
):
    """A head that has `roles` and was given `given`: roles with their confidence, or names of roles, then strong."""
    words = given if isinstance(given, dict) else dict.fromkeys(given or (), "strong")
    truth = HeadTruth(frozenset(roles), frozenset(silent), mechanism)
    return Case(model, 7, "synthetic", group, half, level, noise, kept, "L0H0", made_as, truth, words, named)
