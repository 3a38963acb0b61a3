"""What two audits say of the whole models: losses beside chance, and the in-context picture with its intervals."""

from collections.abc import Mapping
from typing import Any

from analyses.diff.audited import Audited
from analyses.diff.distances import LEAST, difference
from analyses.diff.result import Whole
from interp.stats import Estimate

NATS = "nats"
IN_CONTEXT: dict[str, tuple[str, ...]] = {
    "in-context score": ("score", "score"),
    "in-context score, fresh tokens": ("fresh_score", "score"),
    "in-context gain": ("gain",),
    "in-context gain, fresh tokens": ("fresh_gain",),
}
"""Where each estimate stands in the in-context part of a report."""
SHARES: dict[str, tuple[str, ...]] = {
    "gain lost without the named heads": ("carried", "by", "mean", "lost"),
    "gain kept by them alone": ("carried", "by", "mean", "kept"),
}


def wholes(before: Audited, after: Audited) -> tuple[Whole, ...]:
    """All numbers that both audits have."""
    return (*losses(before, after), *in_context(before, after))


def losses(before: Audited, after: Audited) -> list[Whole]:
    """Of the whole models on the audit's tokens, beside chance."""
    causal = [each.document["measurements"].get("causal") for each in (before, after)]
    if None in causal or not all(each["effects"] for each in causal):
        return []
    intact = [next(iter(each["effects"].values()))["intact"] for each in causal]
    chance = [each["gain"] + values["loss"] for each, values in zip(causal, intact, strict=True)]
    named = {"loss on predictable tokens": "loss", "loss on other tokens": "loss elsewhere"}
    return [
        Whole(name, NATS, intact[0][key], intact[1][key], None, chance=(chance[0], chance[1]))
        for name, key in named.items()
        if all(values.get(key) is not None for values in intact)
    ]


def in_context(before: Audited, after: Audited) -> list[Whole]:
    """Of what is gained in context, and what the named heads carry of it."""
    parts = [each.document.get("in_context") or {} for each in (before, after)]
    units = dict.fromkeys(IN_CONTEXT, NATS) | dict.fromkeys(SHARES, "share")
    found = {name: [estimate(part, way) for part in parts] for name, way in (IN_CONTEXT | SHARES).items()}
    both = {name: (was, now) for name, (was, now) in found.items() if was is not None and now is not None}
    return [whole(name, units[name], was, now, len(both)) for name, (was, now) in both.items()]


def whole(name: str, unit: str, was: Estimate, now: Estimate, comparisons: int) -> Whole:
    found = difference(was, now, comparisons)
    differs = not found.low <= 0 <= found.high and abs(found.mean) > LEAST
    return Whole(name, unit, was, now, found, differs)


def estimate(part: Mapping[str, Any], way: tuple[str, ...]) -> Estimate | None:
    """The estimate at the end of this way through a document; None where there is none, or it is not finite."""
    found: Any = part
    for step in way:
        found = (found or {}).get(step)
    if found is None or None in (found["mean"], found["low"], found["high"]):
        return None
    return Estimate(**found)
