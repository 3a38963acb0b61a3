"""Whether the heads that an audit names account for what a model gains from order, and its doubt where they do not."""

from dataclasses import dataclass
from typing import Any

from analyses.criteria import Criteria
from interp.in_context import Carried
from interp.stats import Estimate

LEAST_SHARE = 0.1
"""A model gains from order if it gains more than this share of what can be gained above counting."""


@dataclass(frozen=True)
class Completeness:
    """What goes without the named heads, and stays with them alone, of the gain above that of counting tokens.

    `lost` and `kept` are by what stands in for removed heads; empty where nothing was gained or removed. Each of the
    `doubts` is a sentence; there is none if the whole intervals reach the criteria.
    """

    gained: float
    """Gain from order: loss on unpredictable minus predictable tokens, less that of the best counting reader; nats."""
    lost: dict[str, Estimate]
    kept: dict[str, Estimate]
    doubts: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        shares = {name: {to: e.to_dict() for to, e in getattr(self, name).items()} for name in ("lost", "kept")}
        return {"gained_from_order": self.gained, **shares, "doubts": list(self.doubts)}


def completeness(
    gain: Estimate, counting: float | None, best: float | None, named: str, carried: Carried | None, criteria: Criteria
) -> Completeness:
    """From the shares of the whole gain, in `carried`; `counting` and `best` are the gains of the ideal readers.

    A share s of the gain g is (s g - c) / (g - c) of the gain above counting's c (kept), and s g / (g - c) (lost).
    Without readers c is 0. `named` are the heads in words, empty if none is named.
    """
    c = max(0.0, counting or 0.0)
    gained = gain.mean - c
    if gain.low <= c or (best is not None and gained < LEAST_SHARE * (best - c)):
        return Completeness(gained, {}, {}, ())
    if not named:
        doubt = f"the model gains {gained:.2f} nats from the order of tokens, and no head is named that does it"
        return Completeness(gained, {}, {}, (doubt,))
    by = {} if carried is None else carried.by
    scale = gain.mean / gained
    lost = {to: _moved(shares.lost, scale, 0.0) for to, shares in by.items()}
    kept = {to: _moved(shares.kept, scale, -c / gained) for to, shares in by.items()}
    return Completeness(gained, lost, kept, tuple(_doubts(named, lost, kept, criteria)))


def _moved(share: Estimate, scale: float, shift: float) -> Estimate:
    mean, low, high = (scale * value + shift for value in (share.mean, share.low, share.high))
    return Estimate(mean, low, high, share.n, share.level, share.method)


def _doubts(named: str, lost: dict[str, Estimate], kept: dict[str, Estimate], criteria: Criteria) -> list[str]:
    parts = (
        (lost, criteria.circuit_lost, f"without {named} {{}} of what is gained from order goes"),
        (kept, criteria.circuit_kept, f"with {named} alone {{}} of what is gained from order stays"),
    )
    said = []
    for shares, least, text in parts:
        if not shares:
            continue
        to, lowest = min(shares.items(), key=lambda item: item[1].low)
        if not lowest.low >= least:
            shown = f"{lowest.mean:.2f} [{lowest.low:.2f}, {lowest.high:.2f}]"
            said.append(f"{text.format(shown)}, not surely {least:g} (removed by {to}): other heads take part")
    return said
