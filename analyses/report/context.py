"""What every section of a report reads: the audit, the model it was of, and a sequence to look at."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from analyses.audit.result import AuditReport
from analyses.criteria import Criteria
from analyses.evidence import RANK, Verdict
from analyses.loading import Subject
from analyses.output import shell_word
from analyses.paths.sample import Sample, random_sample, repeated_sample
from analyses.paths.scores import ScoreParts, ScoreRuns, score_parts, score_runs
from analyses.report.example import example_of
from analyses.sequences import Example
from interp.names import Head
from interp.weights import TransformerWeights

READING = ("induction", "anti-copying", "prefix-matching")
"""Roles that find what followed an earlier copy."""
MOST_TAKEN_APART = 8
"""Heads whose attention scores are taken apart, the surest first."""


@dataclass(frozen=True, eq=False)
class Context:
    """One report in the making."""

    report: AuditReport
    subject: Subject

    @cached_property
    def weights(self) -> TransformerWeights:
        """Folded, on the CPU."""
        return self.report.sources.copying.material.weights.to(device="cpu")

    @cached_property
    def example(self) -> Example:
        """The sequence that patterns and lens are shown on."""
        return example_of(self.subject, self.report.seed)

    @cached_property
    def sample(self) -> Sample:
        """The repeated tokens of the battery; the same drawn anew where behaviour was left out."""
        battery = self.report.battery
        if battery is None:
            return random_sample(self.subject, self.report.seed)
        device = next(self.subject.model.parameters()).device
        return repeated_sample(battery.tokens.to(device), battery.predictable.to(device), battery.protocol)

    @cached_property
    def runs(self) -> ScoreRuns:
        """The model's run on these tokens with its patterns held, and the same without the repetition."""
        return score_runs(self.subject.model, self.sample, self.generator())

    @cached_property
    def score_parts(self) -> dict[Head, ScoreParts]:
        """What carries the attention scores of the heads that match prefixes; empty where no head has such a role."""
        heads = [Head.parse(verdict.head) for verdict in self.with_role if verdict.role in READING][:MOST_TAKEN_APART]
        generator = self.generator()
        return {head: score_parts(self.runs, head, generator) for head in sorted(heads)}

    @cached_property
    def with_role(self) -> tuple[Verdict, ...]:
        """Heads that have a role (other than doing nothing), the surest first."""
        found = [v for v in self.report.verdicts if v.confidence is not None and v.role != "idle"]
        return tuple(sorted(found, key=lambda verdict: -RANK[verdict.confidence or "contested"]))

    @property
    def heads(self) -> tuple[Head, ...]:
        return self.subject.heads

    @property
    def names(self) -> list[str]:
        return [str(head) for head in self.heads]

    @property
    def marked(self) -> list[Head]:
        """Heads that have a role."""
        return [Head.parse(verdict.head) for verdict in self.with_role]

    @property
    def offset(self) -> int | None:
        """Distance from query to key at which QK circuits are read (as the weight evidence); None unless rotary."""
        if self.weights.rotary_base is None:
            return None
        battery = self.report.battery
        return 1 if battery is None else battery.protocol.period - 1

    def generator(self) -> torch.Generator:
        """A new one from the audit's seed."""
        return torch.Generator().manual_seed(self.report.seed)

    def flat(self, values: Tensor) -> list[float]:
        """[layer head] as one list, in the order of `heads`."""
        return values.flatten().tolist()

    @property
    def command(self) -> str:
        """What to type to have the same report again."""
        words = ["interp", "audit", shell_word(str(self.subject.path)), "--seed", str(self.report.seed)]
        for kind in self.report.skipped:
            words += ["--skip", kind]
        if self.report.plan is not None and not self.report.plan.everything:
            words += ["--plan", "report.json"]
        readable = self.report.sources.readable
        words += ["--lens", "tuned"] if readable is not None and readable.tuned is not None else []
        return " ".join(words)

    @property
    def has_own_criteria(self) -> bool:
        return self.report.criteria != Criteria()
