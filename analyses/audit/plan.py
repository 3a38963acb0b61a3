"""What an audit measures, and what not: kept with the result, and followed again on request."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from analyses.evidence import Kind
from interp.errors import InputError
from interp.heads import HeadBattery
from interp.names import Head

SEQUENCES = 32
DRAWS = 400


@dataclass(frozen=True)
class Plan:
    """How much is measured; None means all. With the seed it determines the audit's numbers."""

    sequences: int = SEQUENCES
    """Sequences of each protocol."""
    candidates: int | None = None
    """Heads with causal evidence, and with weight evidence of what they read and copy: the first by behaviour."""
    partners: int | None = None
    """Earlier heads through which a candidate's QK circuit is read: those that attend most to the token before."""
    feeders: int | None = None
    """Earlier heads that are taken out by themselves of what a candidate reads: those that attend most to the token
    before, or to an earlier copy."""
    draws: int = DRAWS
    """Null draws of each such reading."""
    tokens: int | None = None
    """Tokens, drawn at random, to which tables over the vocabulary are restricted."""
    positions: int | None = None
    """First positions to which tables over positions are restricted."""
    minutes: float | None = None
    """The budget that it was made for; says nothing about what is measured."""
    estimated: Mapping[str, float] | None = None
    """Seconds by stage, as they were estimated."""

    @property
    def everything(self) -> bool:
        return self == replace(Plan(), minutes=self.minutes, estimated=self.estimated)

    @property
    def left_out(self) -> tuple[str, ...]:
        """What is not measured, in sentences."""
        if self.everything:
            return ()
        said = {
            f"{self.sequences} sequences of each protocol instead of {SEQUENCES}": self.sequences < SEQUENCES,
            f"causal evidence, copying by weights and matching by weights for {self.candidates} heads only, the first "
            "by behaviour; it is missing for all others": self.candidates is not None,
            "removals for the roles copying, positional, copy-suppression and idle, and what is predicted at each "
            "layer": self.candidates is not None,
            f"matching by weights through {self.partners} earlier heads only, those that attend most to the token "
            "before": self.partners is not None,
            f"feeders among {self.feeders} earlier heads only, those that attend most to the token before or to an "
            "earlier copy; what these cost the model is not measured": self.feeders is not None,
            "virtual heads": self.candidates is not None,
            f"tables over the vocabulary on {self.tokens} random tokens": self.tokens is not None,
            f"tables over positions on the first {self.positions}": self.positions is not None,
            "in-context learning, the lens, and the page's circuits, paths and composition of all pairs": True,
        }
        return tuple(text for text, holds in said.items() if holds)

    @property
    def text(self) -> str:
        """In one paragraph for the terminal; empty if everything is measured."""
        if self.everything:
            return ""
        budget = "as planned" if self.minutes is None else f"for a budget of {self.minutes:g} minutes"
        seconds = "" if self.estimated is None else f" (estimated: {sum(self.estimated.values()):.0f} s)"
        text = f"Not everything was measured, {budget}{seconds}: {'; '.join(self.left_out)}."
        return f"{text} {self.too_small}" if self.too_small else text

    @property
    def too_small(self) -> str:
        """Says so where the budget does not hold even the least that an audit measures; empty where it does."""
        if self.everything or self.minutes is None or self.estimated is None:
            return ""
        needed = sum(self.estimated.values()) / 60
        if needed <= self.minutes:
            return ""
        return f"The budget is too small: the least that is measured was estimated at {needed:.2g} minutes."

    def to_dict(self) -> dict[str, Any]:
        """For JSON; without the times where nothing depended on them, so that two audits give the same file."""
        values = asdict(replace(self, estimated=None) if self.everything else self)
        return {**values, "everything": self.everything, "left_out": list(self.left_out)}

    @classmethod
    def from_dict(cls, values: Any) -> "Plan":
        """From `to_dict`, or from a whole report.json; `InputError` for anything else."""
        values = values.get("plan", values) if isinstance(values, dict) else values
        names = {field.name for field in fields(cls)}
        if not isinstance(values, dict) or not values.keys() & names:
            raise InputError("a plan is a JSON object with sequences, candidates and so on, or a report.json with one")
        for name in ("sequences", "candidates", "partners", "feeders", "draws", "tokens", "positions"):
            value = values.get(name, getattr(cls, name))
            if not (value is None and name not in ("sequences", "draws")) and (type(value) is not int or value < 2):
                raise InputError(f"a plan's {name} must be a whole number of at least 2, got {value!r}")
        return cls(**{name: value for name, value in values.items() if name in names})

    @property
    def skip_beside(self) -> tuple[Kind, ...]:
        """Kinds of evidence that roles other than those of places and of reading go without."""
        return () if self.everything else ("causal",)

    @property
    def skip_predicted(self) -> tuple[Kind, ...]:
        """The same of the roles that take a pass for every head or layer: idle, and what is predicted early."""
        return () if self.everything else ("behaviour", "causal")

    def chosen(self, battery: HeadBattery) -> tuple[Head, ...] | None:
        """The candidates, in order; None for all heads."""
        if self.candidates is None:
            return None
        best = torch.stack([battery[name].score for name in RANKED]).max(0).values
        order = best.flatten().argsort(descending=True, stable=True)[: self.candidates]
        return tuple(sorted(Head(*divmod(int(at), best.shape[1])) for at in order))

    def partners_of(self, candidates: tuple[Head, ...], battery: HeadBattery) -> dict[Head, tuple[Head, ...]]:
        """For each candidate above the first layer the earlier heads that are tried."""
        found = _first_earlier(candidates, battery["previous_token"].score, self.partners)
        return {head: earlier for head, earlier in found.items() if earlier}

    def feeders_of(self, candidates: tuple[Head, ...], battery: HeadBattery) -> dict[Head, tuple[Head, ...]] | None:
        """For each candidate the earlier heads that are taken out by themselves; None: all."""
        if self.feeders is None:
            return None
        score = torch.maximum(battery["previous_token"].score, battery["duplicate_token"].score)
        return _first_earlier(candidates, score, self.feeders)


def _first_earlier(
    candidates: tuple[Head, ...], score: Float[Tensor, "layer head"], n: int | None
) -> dict[Head, tuple[Head, ...]]:
    """Of each candidate's earlier heads those with the n highest scores."""
    order = [Head(*divmod(int(at), score.shape[1])) for at in score.flatten().argsort(descending=True, stable=True)]
    earlier = {head: [other for other in order if other.layer < head.layer] for head in candidates}
    return {head: tuple(sorted(found[:n])) for head, found in earlier.items()}


RANKED = ("prefix_matching", "previous_token", "duplicate_token", "current_token")
"""Scores whose largest decides which heads come first; removals decide nothing about resting on the first token."""
