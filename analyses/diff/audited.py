"""One audit as a diff reads it, from its report.json: what each head does, with intervals, and which roles it has."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import InputError
from interp.names import Head
from interp.stats import Estimate, Estimates

Document = Mapping[str, Any]

PROFILE = (
    "prefix_matching",
    "previous_token",
    "duplicate_token",
    "current_token",
    "first_token",
    "before_copy",
    "entropy",
    "copying",
    "copying_on_repeats",
    "next_token_push",
)
"""The scores that say what a head does. What its removal costs is compared too, but takes no part in the matching: it
depends on the other heads, which may stand in."""
COSTS = {"loss without it (mean)": "mean", "loss without it (zero)": "zero"}


@dataclass(frozen=True)
class HeldRole:
    """A role that a head has; `confidence` is None for what is no claim (none of the known roles)."""

    role: str
    confidence: str | None
    mechanism: str | None

    def __str__(self) -> str:
        return self.role if self.mechanism is None else f"{self.role} ({self.mechanism})"


@dataclass(frozen=True)
class Score:
    """One score of all heads, flat in their order; `scale` is what a perfect head gets, None where there is none."""

    name: str
    unit: str
    scale: float | None
    protocol: str
    estimates: Estimates

    def of(self, place: int) -> Estimate:
        return self.estimates[place]

    @property
    def largest(self) -> float:
        sizes = self.estimates.mean.abs()
        return float(sizes[sizes.isfinite()].max()) if bool(sizes.isfinite().any()) else 0.0


@dataclass(frozen=True, eq=False)
class Audited:
    """The document of an audit (`AuditReport.to_dict()`, or a report.json), and what to call its model."""

    name: str
    document: Document

    @cached_property
    def heads(self) -> tuple[Head, ...]:
        return tuple(Head.parse(verdict["head"]) for verdict in self.document["verdicts"])

    @cached_property
    def depth(self) -> Float[Tensor, " head"]:
        """Each head's layer, from 0 (first) to 1 (last)."""
        layers = torch.tensor([head.layer for head in self.heads], dtype=torch.float64)
        return layers / layers.max().clamp_min(1)

    @cached_property
    def profile(self) -> dict[str, Score]:
        """What every head does on tokens. Raises `InputError` where behaviour was skipped: nothing else tells."""
        measured = self.document["measurements"]
        if measured.get("heads") is None:
            raise InputError(f"{self.name} was audited without behaviour, by which heads are matched: audit it with it")
        found = {**measured["heads"]["scores"], "next_token_push": measured.get("next_token_push")}
        return {name: _score(name, found[name]) for name in PROFILE if found.get(name)}

    @cached_property
    def costs(self) -> dict[str, Score]:
        """What removing each head does to the loss on predictable tokens; empty where causal evidence was skipped."""
        causal = self.document["measurements"].get("causal") or {"effects": {}}
        return {
            name: _score(name, causal["effects"][to]["loss"]) for name, to in COSTS.items() if to in causal["effects"]
        }

    @cached_property
    def roles(self) -> dict[Head, tuple[HeldRole, ...]]:
        """Of every head, the surest first."""
        return {Head.parse(verdict["head"]): _roles(verdict) for verdict in self.document["verdicts"]}

    @cached_property
    def edges(self) -> dict[tuple[Head, str, Head], None]:
        """(earlier head, channel, head that reads it), as the audit names them, in order."""
        return {
            (Head.parse(feeder["head"]), feeder["channel"], Head.parse(verdict["head"])): None
            for verdict in self.document["verdicts"]
            for claim in verdict["claims"]
            if claim["confidence"] is not None
            for feeder in claim["feeders"]
        }

    @property
    def config(self) -> Mapping[str, Any]:
        return self.document["subject"].get("config") or {}


def _score(name: str, saved: Mapping[str, Any]) -> Score:
    interval = saved["interval"]
    mean, low, high = (_numbers(interval[end]) for end in ("mean", "low", "high"))
    estimates = Estimates(mean, low, high, interval["n"], interval["level"], interval["method"])
    return Score(name, saved["unit"], saved["maximum"], saved["protocol"], estimates)


def _numbers(rows: list[list[float | None]]) -> Float[Tensor, " head"]:
    """[layer head] as one list; NaN for what was not finite."""
    return torch.tensor([math.nan if x is None else x for row in rows for x in row], dtype=torch.float64)


def _roles(verdict: Mapping[str, Any]) -> tuple[HeldRole, ...]:
    held = [claim for claim in verdict["claims"] if claim["confidence"] is not None]
    found = [HeldRole(claim["role"], claim["confidence"], claim["mechanism"]) for claim in held]
    return tuple(found) or (HeldRole(verdict["role"], None, None),)
