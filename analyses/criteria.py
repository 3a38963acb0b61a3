"""What counts as an induction head, and as each other role: named thresholds, each with where it comes from.

An audit writes these values into report.json beside every number they were compared with. Those marked "ours" are
choices, not findings: change them with `dataclasses.replace` and audit again.
"""

from dataclasses import asdict, dataclass
from typing import Any

from analyses.evidence import CONFIDENCE, Confidence

ROLES: dict[str, str] = {
    "induction": "after [A][B] ... [A] attends to [B], and by that raises [B]",
    "copy-suppression": "attends to earlier tokens that the model already predicts, and lowers them",
    "anti-copying": "attends as an induction head does, and lowers the token it attends to",
    "prefix-matching": "attends as an induction head does, without raising the token that followed",
    "previous-token": "attends to the token before",
    "duplicate-token": "attends to earlier copies of the present token",
    "current-token": "attends to its own position",
    "first-token": "attends to the first position, where attention rests that has nothing to do",
    "positional": "attends by position alone, to other places than these three",
    "virtual-head": "part of a virtual head: the later one's values read what the earlier one moved",
    "copying": "raises the tokens it attends to",
    "idle": "writes next to nothing that matters on these tokens",
    "unexplained": "removing it costs loss, and none of these roles says why",
    "none": "none of these",
}
"""The roles a head can have, and what each means."""


@dataclass(frozen=True)
class Criteria:
    """Thresholds of the audit; SOURCES says where each comes from."""

    pattern_mass: float = 0.4
    null_margin: float = 0.2
    period_mass: float = 0.3
    push_margin: float = 0.1
    null_quantile: float = 0.99
    positional_margin: float = 0.2
    token_match: float = 0.5
    loss_share: float = 0.02
    no_loss_share: float = 0.005
    feed_drop: float = 0.3
    feed_rest: float = 0.1
    feed_least: float = 0.05
    interval_level: float = 0.95
    expect_confidence: Confidence = "moderate"

    def to_dict(self) -> dict[str, Any]:
        """Values, sources, and the meaning of the confidence words, for report.json."""
        return {"values": asdict(self), "sources": SOURCES, "roles": ROLES, "confidence": dict(CONFIDENCE)}


SOURCES: dict[str, str] = {
    "pattern_mass": (
        "mean attention from which a detector names a head; 0.4 is the detection threshold of ARENA 1.2 for heads of a "
        "two-layer attention-only model (previous-token, induction, first-token), here per eligible query"
    ),
    "null_margin": (
        "ours: the score must exceed the same entries read without the repetition, and shuffled attention, by half the "
        "pattern threshold; a head that attends by position alone does not"
    ),
    "period_mass": "ours: prefix matching must reach this at every period tried, or it is a positional habit",
    "push_margin": "ours: nats by which a head's own output must move the next token's logit against other tokens'",
    "null_quantile": "ours: a weight score must exceed this quantile of its own null",
    "positional_margin": (
        "ours: positions alone must imply so much more attention where the role says than an even spread puts there"
    ),
    "token_match": "ours: share of the vocabulary whose own token gets the highest score in the token-space QK circuit",
    "loss_share": (
        "ours: removing the head must cost this share of what the model gains on the tokens it scores (chance loss "
        "minus its loss), with the whole interval above 0"
    ),
    "no_loss_share": "ours: below this share, with its whole interval, removing the head changes nothing that matters",
    "feed_drop": (
        "ours: taking an earlier head out of the K (or Q) input alone must remove this share of the prefix matching, "
        "for it to be named as a feeder"
    ),
    "feed_rest": (
        "ours: the feeders that are named must keep the prefix matching together but for this share, all other earlier "
        "heads taken out of the input; more are named until they do"
    ),
    "feed_least": "ours: share of the prefix matching that a feeder must bring, for it to be named only beside others",
    "interval_level": "the usual 95 %",
    "expect_confidence": "ours: from which confidence on a head counts for --expect",
}
