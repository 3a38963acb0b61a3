"""The audit's outcome and the model in plain words."""

from collections.abc import Sequence

from analyses.audit.result import AuditReport
from analyses.criteria import ROLES
from analyses.evidence import RANK, Confidence, Verdict
from analyses.loading import ModelConfig
from analyses.report.blocks import listed

CHANNELS = {
    "K": "which token stood before by {heads} (K-composition)",
    "Q": "where the earlier copy stands by {heads} (Q-composition)",
    "V": "what to move by {heads} (V-composition)",
}
"""What heads that match prefixes have from the heads that feed their keys or their queries."""
MEANINGS = {
    "for": "every deciding number of this kind meets its rule",
    "against": "at least one deciding number of this kind breaks its rule",
    "undecided": "a deciding number's interval straddles its threshold, or the number cannot decide (its rule says so)",
    "missing": "this kind of evidence was skipped, or cannot be gathered for this head",
}
"""What the status of a kind of evidence says."""

NORMALIZATIONS = {
    "none": "no normalisation",
    "LN": "layer normalisation",
    "LNPre": "layer normalisation without gain and bias",
    "RMS": "root-mean-square normalisation",
    "RMSPre": "root-mean-square normalisation without gain",
}
POSITIONS = {
    "standard": "positions added to the residual stream",
    "shortformer": "positions added to the inputs of queries and keys only (shortformer)",
    "rotary": "rotary positions",
    "none": "no positions",
}


def conclusion(report: AuditReport) -> str:
    """One sentence: which heads are induction heads and what feeds them, or that none is."""
    if "behaviour" in report.skipped:
        return "No verdict: what the heads do on tokens was not measured."
    found = [verdict for verdict in report.verdicts if verdict.role == "induction"]
    sure = [verdict for verdict in found if verdict.confidence != "contested"]
    if sure:
        what = "is an induction head" if len(sure) == 1 else "are induction heads"
        return f"{count(len(sure))} {what}: {by_confidence(sure)}{fed(sure)}."
    if found:
        verb = "behaves as an induction head" if len(found) == 1 else "behave as induction heads"
        return f"{count(len(found))} {verb}, but the kinds of evidence disagree: {by_confidence(found)}."
    open_ = [v.head for v in report.verdicts if any(c.role == "induction" and c.possible_confidence for c in v.claims)]
    if open_:
        return f"No head reaches the criteria of an induction head; for {listed(open_)} it cannot be decided."
    return "No head reaches the criteria of an induction head."


def other_findings(report: AuditReport) -> str:
    """The other roles that were given, and contested induction heads beside sure ones; empty if there are none."""
    parts = []
    for role in ROLES:
        found = [(v.head, claim.confidence) for v in report.verdicts if (claim := v.having(role)) is not None]
        if role == "induction":
            found = [each for each in found if each[1] == "contested"] if has_sure_induction(report) else []
        if found:
            parts.append(f"{role}: {grouped(found)}")
    return "; ".join(parts)


def has_sure_induction(report: AuditReport) -> bool:
    return any(v.role == "induction" and v.confidence not in (None, "contested") for v in report.verdicts)


def count(n: int) -> str:
    return "1 head" if n == 1 else f"{n} heads"


def by_confidence(verdicts: Sequence[Verdict]) -> str:
    """Their names, the surest first, with the confidence after each group."""
    return grouped([(verdict.head, verdict.confidence) for verdict in verdicts])


def grouped(found: Sequence[tuple[str, Confidence | None]]) -> str:
    """Heads with their confidence, the surest first."""
    groups: dict[str, list[str]] = {}
    for head, confidence in sorted(found, key=lambda each: -RANK[each[1] or "contested"]):
        groups.setdefault(str(confidence), []).append(head)
    return ", ".join(f"{listed(heads)} ({confidence})" for confidence, heads in groups.items())


def fed(verdicts: Sequence[Verdict]) -> str:
    """Which earlier heads they read, by channel."""
    feeders: dict[str, dict[str, None]] = {}
    for verdict in verdicts:
        for feeder in verdict.claims[0].feeders:
            feeders.setdefault(feeder.channel, {})[feeder.head] = None
    told = "it is told" if len(verdicts) == 1 else "they are told"
    clauses = [text.format(heads=listed(sorted(feeders[c]))) for c, text in CHANNELS.items() if c in feeders]
    return f"; {told} {listed(clauses)}" if clauses else ""


def model_in_words(config: ModelConfig) -> str:
    """The architecture in one sentence."""
    c = config
    layers = f"{c.n_layers} layer{'s' * (c.n_layers != 1)} of {c.n_heads} attention head{'s' * (c.n_heads != 1)}"
    mlp = "attention only" if c.d_mlp == 0 else f"with MLPs of {c.d_mlp} {c.activation.upper()} units"
    learned = "learned " if c.learned_positions and c.positions in ("standard", "shortformer") else ""
    parts = [
        f"{layers}, {mlp}",
        f"{c.d_model} numbers in the residual stream, {c.d_head} in a head",
        f"{c.d_vocab} tokens, context of {c.n_ctx}",
        f"{learned}{POSITIONS[c.positions]}",
        NORMALIZATIONS[c.normalization],
        "tied embeddings" if c.tied_embeddings else "separate embedding and unembedding",
    ]
    if c.smeared_keys:
        parts.append("smeared keys")
    if not c.biases:
        parts.append("no biases")
    return "; ".join(parts)
