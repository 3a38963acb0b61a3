"""Whether the heads that an audit names account for what a model gains from order, and its doubt where they do not."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from analyses.criteria import Criteria
from interp.in_context import Carried
from interp.stats import Estimate

KEPT = "stays"
LEAST_SHARE = 0.1
"""A model gains from order if it gains more than this share of what can be gained above counting."""


@dataclass(frozen=True)
class Completeness:
    """What goes without the named heads, and stays with them alone, of the gain above that of counting tokens.

    By what stands in for removed heads: their mean, or what they write on tokens that do not repeat; nothing where
    nothing was gained or removed. Each of the `doubts` is a sentence; there is none if all whole intervals reach the
    criteria.
    """

    gained: float
    """Gain from order: loss on unpredictable minus predictable tokens, less that of the best counting reader; nats."""
    lost: Mapping[str, Estimate] = field(default_factory=dict)
    kept: Mapping[str, Estimate] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()

    @property
    def keeps_enough(self) -> bool:
        """Whether nothing is missing from the circuit, as far as was measured."""
        return not any(KEPT in doubt for doubt in self.doubts)

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
        return Completeness(gained)
    if not named:
        doubt = f"the model gains {gained:.2f} nats from the order of tokens, and no head is named that does it"
        return Completeness(gained, doubts=(doubt,))
    if carried is None or not carried.by:
        return Completeness(gained)
    scale = gain.mean / gained
    lost = {to: _moved(shares.lost, scale, 0.0) for to, shares in carried.by.items()}
    kept = {to: _moved(shares.kept, scale, -c / gained) for to, shares in carried.by.items()}
    said = (
        _doubt(lost, criteria.circuit_lost, f"without {named}", "goes"),
        _doubt(kept, criteria.circuit_kept, f"with {named} alone", KEPT),
    )
    return Completeness(gained, lost, kept, tuple(doubt for doubt in said if doubt))


def _doubt(shares: dict[str, Estimate], least: float, which: str, becomes: str) -> str:
    """Empty where all whole intervals reach what is asked for."""
    to, share = min(shares.items(), key=lambda item: item[1].low)
    if share.low >= least:
        return ""
    shown = f"{share.mean:.2f} [{share.low:.2f}, {share.high:.2f}]"
    return f"{which}, {shown} of what the model gains from order {becomes} (removed by {to}), not surely {least:g}"


def _moved(share: Estimate, scale: float, shift: float) -> Estimate:
    mean, low, high = (scale * value + shift for value in (share.mean, share.low, share.high))
    return Estimate(mean, low, high, share.n, share.level, share.method)
