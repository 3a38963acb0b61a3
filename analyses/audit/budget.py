"""What an audit measures when everything would take too long: one plan, made before the work and kept with the result.

A plan is made from the time of one forward pass, so it differs from run to run; the numbers of an audit depend on the
plan and the seed alone, not on the time.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from analyses.evidence import Kind
from interp.errors import InputError
from interp.heads import HeadBattery, Protocol, olsson_protocol, repeated_tokens
from interp.heads.stimuli import fresh_control, other_periods
from interp.names import Head
from interp.weights.shape import shape_of

SMALL_WORK = 2e12
"""A model whose whole audit takes fewer operations is audited whole: about a minute of one core. No clock decides."""
MINUTES = 4.0
"""The budget of a larger one, if nobody says."""
SEQUENCES = 32
FEWER_SEQUENCES = (16, 8, 4)
FEWEST_CANDIDATES = 4
PARTNERS = 4
FEEDERS = 16
DRAWS = 400
SAMPLED_TOKENS, SAMPLED_POSITIONS = 1024, 128
MOST_TOKENS = 20_000
"""Tables of all pairs of tokens are not made for larger vocabularies."""
COPYING_DRAWS = 200
QUICK_SECONDS = 0.1
RECORDING = 1.5
"""What a pass costs whose patterns are read, in plain passes."""
BESIDE_PASSES = 14
"""Passes over the sequences for what is neither the battery nor removals: pushes, copying, places."""


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
        return f"Not everything was measured, {budget}{seconds}: {'; '.join(self.left_out)}."

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


def make_plan(
    model: nn.Module, bos: int | None = None, excluded: tuple[int, ...] = (), minutes: float | None = None
) -> Plan:
    """The plan that fits `minutes`, 4 if nobody says; everything for models whose whole audit takes under a minute.

    Raises `InputError` for a budget that is not above 0, and for models that cannot be audited.
    """
    if minutes is not None and not 0 < minutes < float("inf"):
        raise InputError(f"--budget must be a number of minutes above 0, got {minutes:g}")
    shape = shape_of(model)
    first = olsson_protocol(shape.d_vocab, shape.n_ctx, bos, excluded)
    costs = Costs.timed(model, first, other_periods(first, shape.n_ctx))
    whole, budget = Plan(), 60 * (MINUTES if minutes is None else minutes)
    small = costs.work(whole) <= SMALL_WORK if minutes is None else sum(costs.of(whole).values()) <= budget
    if small and shape.d_vocab <= MOST_TOKENS:
        return replace(whole, minutes=minutes, estimated=costs.of(whole))
    reduced = replace(
        whole,
        partners=PARTNERS,
        feeders=FEEDERS,
        tokens=SAMPLED_TOKENS if shape.d_vocab > SAMPLED_TOKENS else None,
        positions=SAMPLED_POSITIONS if shape.n_ctx > SAMPLED_POSITIONS else None,
        minutes=budget / 60,
    )
    return fitted(reduced, costs, budget, len(shape.heads))


def fitted(plan: Plan, costs: "Costs", budget: float, n_heads: int) -> Plan:
    """As many sequences as leave half of the budget to the candidates, then as many candidates as fit."""
    least = replace(plan, candidates=min(FEWEST_CANDIDATES, n_heads))
    for n in (SEQUENCES, *FEWER_SEQUENCES):
        least = replace(least, sequences=n)
        if sum(costs.of(least).values()) <= budget / 2:
            break
    one_more = replace(least, candidates=least.candidates + 1 if least.candidates else 1)
    each = sum(costs.of(one_more).values()) - sum(costs.of(least).values())
    room = max(0, int((budget - sum(costs.of(least).values())) / max(each, 1e-9)))
    made = replace(least, candidates=min(n_heads, (least.candidates or 0) + room))
    return replace(made, estimated=costs.of(made))


@dataclass(frozen=True)
class Costs:
    """Seconds of the pieces that an audit is made of."""

    pass_of_sequence: float
    """One forward pass over one sequence."""
    battery_sequences: float
    """Sequences as long as the protocol's that the battery runs for each one that is asked for."""
    eigenvalues: float
    """Those of one table of the size of a head."""
    work_of_sequence: float
    """Operations of a pass over one sequence."""
    n_layers: int
    n_heads: int

    @classmethod
    def timed(cls, model: nn.Module, first: Protocol, others: list[Protocol]) -> "Costs":
        """From forward passes over two sequences, or over many where that is quick."""
        generator, shape = torch.Generator().manual_seed(0), shape_of(model)
        seconds = seconds_of_pass(model, repeated_tokens(first, 2, generator))
        if 2 * seconds < QUICK_SECONDS:
            seconds = seconds_of_pass(model, repeated_tokens(first, SEQUENCES, generator))
        rows = sum(tokens_of(protocol, generator) for protocol in (first, *others)) / first.length
        config: Any = getattr(model, "cfg", None) or getattr(model, "config", None)
        numbers = {parameter.data_ptr(): parameter.numel() for parameter in model.parameters()}
        return cls(
            seconds,
            rows,
            seconds_of_eigenvalues(int(config.d_head), generator),
            2.0 * first.length * sum(numbers.values()),
            shape.n_layers,
            shape.n_heads,
        )

    def passes(self, plan: Plan) -> float:
        """Sequences that run through the model."""
        heads = self._heads(plan)
        return plan.sequences * (self.battery_sequences + BESIDE_PASSES + 4 + 2 * heads)

    def work(self, plan: Plan) -> float:
        """Operations of all forward passes, at two for each parameter and token."""
        return self.passes(plan) * self.work_of_sequence

    def _heads(self, plan: Plan) -> int:
        total = self.n_layers * self.n_heads
        return total if plan.candidates is None else min(plan.candidates, total)

    def of(self, plan: Plan) -> dict[str, float]:
        """Seconds by stage."""
        heads = self._heads(plan)
        partners = self.n_heads * (self.n_layers - 1) / 2 if plan.partners is None else plan.partners
        passes = plan.sequences * self.pass_of_sequence
        return {
            "behaviour": RECORDING * passes * (self.battery_sequences + BESIDE_PASSES),
            "weights": heads * self.eigenvalues * (COPYING_DRAWS + partners * plan.draws),
            "causal": passes * (4 + 2 * heads),
        }


@torch.no_grad()
def seconds_of_pass(model: nn.Module, tokens: Tensor) -> float:
    """For each sequence, after a first pass that does not count."""
    tokens = tokens.to(next(model.parameters()).device)
    for _ in range(2):
        start = time.perf_counter()
        float(model(tokens)[0, 0, 0])  # waits for a GPU
        seconds = time.perf_counter() - start
    return seconds / len(tokens)


def seconds_of_eigenvalues(d_head: int, generator: torch.Generator) -> float:
    """For each table of the size of a head, after first ones that do not count."""
    tables = torch.randn(4, d_head, d_head, generator=generator, dtype=torch.float64)
    for _ in range(2):
        start = time.perf_counter()
        torch.linalg.eigvals(tables)
        seconds = time.perf_counter() - start
    return seconds / len(tables)


def tokens_of(protocol: Protocol, generator: torch.Generator) -> float:
    """Tokens that are run for each sequence of a protocol, with its controls."""
    tokens = repeated_tokens(protocol, 2, generator)
    return (tokens.numel() + fresh_control(tokens, protocol, generator).tokens.numel()) / 2
