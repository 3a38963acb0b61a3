"""Cases: for every head of a drawn model, what it was made to be and what the audit said."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from analyses.audit import AuditReport, Criteria, audit
from analyses.audit.plan import Plan
from analyses.audit.verdicts import verdict
from analyses.calibration.draws import Draw, Group, Half
from analyses.calibration.models import Drawn, build, is_easy
from analyses.calibration.truths import HeadTruth, truth_of
from analyses.evidence import Confidence, Verdict
from interp.names import Head
from toy_models.transformer import Transformer

CALLED: tuple[Confidence, ...] = ("weak", "moderate", "strong")
"""Confidence at which a head counts as having a role; "contested" is counted by itself."""


@dataclass(frozen=True)
class Case:
    """One head of one model, beside its truth."""

    model: int
    seed: int
    name: str
    group: Group
    half: Half
    level: float
    noise: float
    kept: float | None
    head: str
    made_as: str
    truth: HeadTruth
    given: dict[str, Confidence]
    """Every role that the audit gave, with its confidence."""
    mechanism: str | None
    """Of induction, as the audit has it."""

    @property
    def positive(self) -> bool:
        """A head that was made to do something, in a model with a circuit."""
        return self.group == "circuit" and self.made_as != "idle"

    @property
    def easy(self) -> bool:
        """With so little noise that the model keeps 95 % of its accuracy (without a task of its own: with none)."""
        return is_easy(self.noise, self.kept)

    def called(self, role: str) -> bool:
        return self.given.get(role) in CALLED

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        truth, values = self.truth, {field.name: getattr(self, field.name) for field in fields(self)}
        told = {"roles": sorted(truth.roles), "silent": sorted(truth.silent), "mechanism": truth.mechanism}
        return values | {"truth": told}


def cases_of(draw: Draw, candidates: Sequence[Criteria]) -> list[list[Case]]:
    """The cases of one model under each of some criteria; one audit for each `pattern_mass` among them.

    Raises whatever the audit raises, with a note that says for which draw.
    """
    try:
        drawn = build(draw)
        audits: dict[float, AuditReport] = {}
        found = []
        for criteria in candidates:
            measured = audits.get(criteria.pattern_mass)
            if measured is None:
                measured = audit_whole(drawn.made.model, draw.seed, criteria)
                audits[criteria.pattern_mass] = measured
            verdicts = rejudged(measured, criteria)
            found.append([case_of(drawn, verdict) for verdict in verdicts])
        return found
    except Exception as error:
        error.add_note(f"in {draw}")
        raise


def audit_whole(model: Transformer, seed: int, criteria: Criteria) -> AuditReport:
    """Everything that decides, however long it takes on this machine, and nothing else."""
    return audit(model, bos=0, seed=seed, criteria=criteria, context=False, plan=Plan())


def rejudged(report: AuditReport, criteria: Criteria) -> tuple[Verdict, ...]:
    """The verdicts under other criteria from what was measured: thresholds may differ, but for those that say what is
    measured (`pattern_mass`, `feed_drop`, `feed_rest`, the quantile of nulls, the level of intervals)."""
    if criteria == report.criteria:
        return report.verdicts
    sources = copy.deepcopy(report.sources, {id(report.criteria): criteria})  # with the new criteria in their place
    return tuple(verdict(Head.parse(v.head), sources) for v in report.verdicts)


def case_of(drawn: Drawn, verdict: Verdict) -> Case:
    draw, truth, head = drawn.draw, drawn.made.truth, Head.parse(verdict.head)
    at = (head.layer, head.index)
    given = {claim.role: claim.confidence for claim in verdict.roles if claim.confidence is not None}
    mechanism = next((claim.mechanism for claim in verdict.roles if claim.role == "induction"), None)
    return Case(
        model=draw.index,
        seed=draw.seed,
        name=draw.name,
        group=draw.group,
        half=draw.half,
        level=draw.level,
        noise=drawn.noise,
        kept=drawn.kept,
        head=verdict.head,
        made_as=truth.roles[at],
        truth=truth_of(truth, at, disturbed=not drawn.easy),
        given=given,
        mechanism=mechanism,
    )
