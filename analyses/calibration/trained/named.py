"""The circuit that an audit names, and where the audit itself says that it is not sure."""

from dataclasses import dataclass

from analyses.audit import AuditReport
from analyses.evidence import RANK, Claim
from interp.names import Head

OPEN = ("weak", "contested")
STANDS_IN = "stand in for it"


@dataclass(frozen=True)
class Named:
    """Heads with the role induction, the earlier heads named as their feeders, and what the audit says beside them.

    `support`: further heads without which too little of the gain stays, named by the audit where that is so.

    `redundant`: heads marked as replaceable: an induction head that only the removal of its like shows to matter, and a
    feeder that is named since it would be enough alone, not since its removal costs or it is one of the fewest that are
    enough. `doubts`: what the audit says where its circuit does not account for the gain; weak, contested or undecided
    claims of induction; and feeders on which weights and ablation disagree.
    """

    induction: tuple[Head, ...]
    feeders: tuple[Head, ...]
    mechanisms: dict[str, str | None]
    confidence: dict[str, str | None]
    """Of each induction head, as its mechanism."""
    support: tuple[Head, ...]
    redundant: frozenset[Head]
    doubts: tuple[str, ...]

    @property
    def circuit(self) -> frozenset[Head]:
        return frozenset(self.induction) | frozenset(self.feeders) | frozenset(self.support)


def named_by(report: AuditReport) -> Named:
    """Induction heads at the audit's own level of confidence for `--expect` (moderate), with their feeders."""
    least = RANK[report.criteria.expect_confidence]
    claims = {Head.parse(v.head): claim for v in report.verdicts for claim in v.claims if claim.role == "induction"}
    sure = {h: c for h, c in claims.items() if c.confidence is not None and RANK[c.confidence] >= least}
    feeders = {Head.parse(feeder.head) for claim in sure.values() for feeder in claim.feeders}
    backups = {head for head, claim in sure.items() if any(STANDS_IN in note for note in claim.notes)}
    shared = {
        head for head in feeders if not any(_needs(report, reader, claim, head) for reader, claim in sure.items())
    }
    doubts = [*report.doubts]
    doubts += [doubt for head, claim in claims.items() for doubt in _doubts(head, claim, head in sure)]
    return Named(
        tuple(sorted(sure)),
        tuple(sorted(feeders)),
        {str(head): claim.mechanism for head, claim in sorted(sure.items())},
        {str(head): claim.confidence for head, claim in sorted(sure.items())},
        () if report.in_context is None or report.in_context.support is None else report.in_context.support.heads,
        frozenset(backups | shared),
        tuple(doubts),
    )


def _needs(report: AuditReport, reader: Head, claim: Claim, feeder: Head) -> bool:
    """Whether a reader loses enough without this feeder, or has it among the fewest that are enough together."""
    for found in claim.feeders:
        if found.head == str(feeder) and found.channel != "V":
            threshold, causal = found.causal.threshold, report.sources.causal
            fewest = () if causal is None else causal.feedings[reader].enough[found.channel].heads
            if threshold is None or found.causal.value >= threshold or feeder in fewest:
                return True
    return False


def _doubts(head: Head, claim: Claim, sure: bool) -> list[str]:
    if not sure:
        return [f"{head}: induction {claim.confidence if claim.confidence in OPEN else 'undecided'}"]
    return [f"{head}: feeder {f.head} disputed by weights" for f in claim.feeders if f.agree is False]
