"""The outcome of an audit: verdicts with everything they rest on, and its JSON form."""

import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import torch

from analyses import reliability
from analyses.audit.expectations import Expectation, Judgement, has_role, judge
from analyses.audit.in_context import InContext
from analyses.audit.plan import Plan
from analyses.audit.verdicts import Sources
from analyses.criteria import Criteria
from analyses.evidence import Confidence, Kind, Mechanism, Verdict
from interp.heads import HeadBattery

SCHEMA_VERSION = 2
"""Of report.json; raised when a field changes its meaning or goes away."""


@dataclass(frozen=True, eq=False)
class AuditReport:
    """Verdicts of all heads, in order; `sources` hold the numbers behind them, `subject` says which model it was."""

    subject: dict[str, Any]
    verdicts: tuple[Verdict, ...]
    sources: Sources
    criteria: Criteria
    seed: int
    skipped: tuple[Kind, ...]
    battery: HeadBattery | None
    in_context: InContext | None = None
    """None where behaviour was skipped, the model is too large for it, or it was not asked for."""
    plan: Plan | None = None
    """How much was measured; `audit(..., plan=)` and --plan do it again."""

    def __getitem__(self, head: str) -> Verdict:
        return next(verdict for verdict in self.verdicts if verdict.head == head)

    def heads(self, role: str, confidence: Confidence = "weak", mechanism: Mechanism | None = None) -> list[str]:
        """Names of the heads that have this role among theirs, at this confidence or above, done by this mechanism."""
        return [v.head for v in self.verdicts if has_role(v, role, confidence, mechanism)]

    def judge(self, expectations: Sequence[Expectation], confidence: Confidence | None = None) -> list[Judgement]:
        """What becomes of each expectation, at `confidence` or that of the criteria."""
        level = confidence or self.criteria.expect_confidence
        return [judge(self.verdicts, expectation, level) for expectation in expectations]

    @property
    def doubts(self) -> tuple[str, ...]:
        """Where the named heads do not account for what the model gains from order, in sentences."""
        return () if self.in_context is None else self.in_context.doubts

    def to_dict(self) -> dict[str, Any]:
        """report.json: every number, the criteria, seeds, the model's hash and the versions it was made with."""
        return {
            "schema": "interp-audit",
            "schema_version": SCHEMA_VERSION,
            "subject": self.subject,
            "contradictions": [
                {"head": verdict.head, **asdict(each)} for verdict in self.verdicts for each in verdict.contradictions
            ],
            "doubts": list(self.doubts),
            "verdicts": [verdict.to_dict() for verdict in self.verdicts],
            "reliability": reliability.to_dict(bool(self.criteria.overridden)),
            "measurements": {
                "heads": None if self.battery is None else self.battery.to_dict(),
                "next_token_push": None if self.sources.behaviour is None else self.sources.behaviour.push.to_dict(),
                "weights": None if self.sources.weights is None else self.sources.weights.to_dict(),
                "causal": None if self.sources.causal is None else self.sources.causal.to_dict(),
                "copying": self.sources.copying.to_dict(),
                "already predicted": self.sources.suppression.to_dict(),
                "positional": self.sources.placed.to_dict(),
                "virtual heads": self.sources.virtual.to_dict(),
                "idle": self.sources.idle.to_dict(),
            },
            "in_context": None if self.in_context is None else self.in_context.to_dict(),
            "readable": None if self.sources.readable is None else self.sources.readable.to_dict(),
            "criteria": self.criteria.to_dict(),
            "seed": self.seed,
            "skipped": list(self.skipped),
            "plan": None if self.plan is None else self.plan.to_dict(),
            "versions": versions(),
        }


def versions() -> dict[str, str]:
    names = ("interp", "torch", "numpy", "transformer-lens")
    return {"python": platform.python_version()} | {name: _version(name) for name in names} | {"device": _device()}


def _version(name: str) -> str:
    try:
        return version(name)
    except ImportError:
        return "not installed"


def _device() -> str:
    return f"{platform.machine()}, {torch.get_num_threads()} torch threads"
