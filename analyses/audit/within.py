"""Verdicts within a plan: heads that the plan leaves out have no causal evidence, and say why."""

from collections.abc import Sequence
from dataclasses import replace

from analyses.audit.verdicts import Sources, verdict
from analyses.evidence import Claim, Evidence, Verdict
from interp.names import Head

LEFT_OUT = "left out to keep within the budget: by behaviour other heads come first"


def verdicts_of(heads: Sequence[Head], sources: Sources, chosen: tuple[Head, ...] | None) -> tuple[Verdict, ...]:
    """A verdict for every head, with causal evidence for those of `chosen` only; None for all."""
    if chosen is None:
        return tuple(verdict(head, sources) for head in heads)
    without = replace(sources, causal=None)
    return tuple(verdict(head, sources) if head in chosen else noted(verdict(head, without)) for head in heads)


def noted(found: Verdict) -> Verdict:
    """The same verdict; evidence that is missing says that it was left out."""
    return replace(found, claims=tuple(noted_claim(claim) for claim in found.claims))


def noted_claim(claim: Claim) -> Claim:
    return replace(claim, evidence=tuple(map(noted_evidence, claim.evidence)))


def noted_evidence(evidence: Evidence) -> Evidence:
    if evidence.status != "missing" or evidence.kind == "behaviour" or evidence.note:
        return evidence
    return replace(evidence, note=LEFT_OUT)
