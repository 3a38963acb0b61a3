"""Making claims and their measurements from estimates; what every role has of the audit to measure with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import nn

from analyses.audit.intact import Intact
from analyses.criteria import Criteria
from analyses.evidence import Claim, Evidence, Kind, Measurement
from interp.heads import HeadBattery
from interp.names import Head
from interp.stats import Estimate
from interp.weights import TransformerWeights

Found = tuple[Measurement, ...]
Answer = TypeVar("Answer")


@dataclass(frozen=True, eq=False)
class Material:
    """The model, its weights (folded), the tokens it was measured on, and the rules."""

    model: nn.Module
    weights: TransformerWeights
    battery: HeadBattery
    criteria: Criteria
    generator: torch.Generator
    bos: int | None
    skip: tuple[Kind, ...]
    intact: Intact

    @property
    def text(self) -> str:
        """The tokens, in words."""
        return f"{len(self.battery.tokens)} sequences: {self.battery.protocol.text}"

    @property
    def offset(self) -> int | None:
        """Distance from query to key at which QK circuits are read; None unless rotary."""
        return None if self.weights.rotary_base is None else self.battery.protocol.period - 1


def material_of(
    model: nn.Module,
    weights: TransformerWeights,
    battery: HeadBattery,
    criteria: Criteria,
    generator: torch.Generator,
    bos: int | None,
    skip: tuple[Kind, ...],
) -> Material:
    """On the battery's tokens."""
    intact = Intact(model, battery.tokens, generator, criteria.interval_level)
    return Material(model, weights, battery, criteria, generator, bos, skip, intact)


def measured(
    name: str,
    estimate: Estimate,
    rule: str,
    holds: bool | None,
    unit: str = "",
    threshold: float | None = None,
    nulls: Mapping[str, float] | None = None,
    informs: bool = False,
) -> Measurement:
    """A measurement with the estimate's mean and interval."""
    return Measurement(
        name, estimate.mean, rule, holds, unit, estimate.low, estimate.high, nulls or {}, threshold, informs
    )


def claim_of(role: str, found: Mapping[Kind, Found], why: Mapping[Kind, str] | None = None, **more: Any) -> Claim:
    """A claim with its three kinds of evidence; `why` a kind cannot speak for the role, or has nothing to say."""
    kinds: tuple[Kind, ...] = ("behaviour", "weights", "causal")
    said = why or {}
    evidence = tuple(Evidence(kind, found.get(kind, ()), said.get(kind, "")) for kind in kinds)
    return Claim(role, evidence, **more)


def asked_once(claim: Callable[[Any, Head], Answer]) -> Callable[[Any, Head], Answer]:
    """A role's answer about a head, given again when it is asked again by the same rules: intervals are drawn once."""

    @wraps(claim)
    def answer(self: Any, head: Head) -> Answer:
        # the rules as text: where a copy of what was measured gets other rules in their place, its keys keep these
        given, asked = vars(self).setdefault("given", {}), (head, repr(self.material.criteria))
        if asked not in given:
            given[asked] = claim(self, head)
        return given[asked]

    return answer


def is_open(found: Found) -> bool:
    """Whether these measurements are for their role, or may still be: worth measuring more."""
    return Evidence("behaviour", found).status in ("for", "undecided")
