"""How long the pieces of an audit take on this machine, and what a plan adds up to."""

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from analyses.audit.plan import SEQUENCES, Plan
from interp.heads import Protocol, repeated_tokens
from interp.heads.stimuli import fresh_control
from interp.weights.shape import shape_of

COPYING_DRAWS = 200
QUICK_SECONDS = 0.1
RECORDING = 1.5
"""What a pass costs whose patterns are read, in plain passes."""
BESIDE_PASSES = 14
"""Passes over the sequences for what is neither the battery nor removals: pushes, copying, places."""
FEEDING_PASSES = 4
"""What all heads write and read, measured once for all heads that match prefixes."""


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
    reading_of_sequence: float
    """What one head reads without an earlier one, and its pattern, in one sequence."""

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
            seconds_of_reading(first.length, int(config.d_model), int(config.d_head), generator),
        )

    def passes(self, plan: Plan) -> float:
        """Sequences that run through the model."""
        return plan.sequences * (self.battery_sequences + BESIDE_PASSES + self._causal_passes(plan))

    def _causal_passes(self, plan: Plan) -> int:
        """Removals by two ways, what feeds heads, and where all is measured every head that a virtual head may end in.

        Not known before, and not counted, is what heads that turn out to match prefixes take in models that run with
        inputs split by head, and pairs of heads that turn out to matter.
        """
        above_first = self.n_heads * (self.n_layers - 1)
        feeding = FEEDING_PASSES if above_first else 0
        return 4 + 2 * self._heads(plan) + feeding + (above_first if plan.candidates is None else 0)

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
        tried = 0 if plan.feeders is None else plan.feeders
        readings = heads * (2 * (2 * tried + 1) + 4 * tried)  # of two inputs, then the fewest that are enough
        return {
            "behaviour": RECORDING * passes * (self.battery_sequences + BESIDE_PASSES),
            "weights": heads * self.eigenvalues * (COPYING_DRAWS + partners * plan.draws),
            "causal": passes * self._causal_passes(plan) + plan.sequences * readings * self.reading_of_sequence,
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


def seconds_of_reading(pos: int, d_model: int, d_head: int, generator: torch.Generator) -> float:
    """What an earlier head writes, taken out of a stream, normalised, projected, and the pattern of that; in pairs."""
    z, x = torch.randn(2, pos, d_head, generator=generator), torch.randn(2, pos, d_model, generator=generator)
    W = torch.randn(d_model, d_head, generator=generator)
    for _ in range(2):
        start = time.perf_counter()
        for _ in range(4):
            changed = x - z @ W.T
            read = changed / changed.square().mean(-1, keepdim=True).sqrt()
            (read @ W @ (x @ W).mT).softmax(-1)
        seconds = time.perf_counter() - start
    return seconds / 8


def tokens_of(protocol: Protocol, generator: torch.Generator) -> float:
    """Tokens that are run for each sequence of a protocol, with its controls."""
    tokens = repeated_tokens(protocol, 2, generator)
    return (tokens.numel() + fresh_control(tokens, protocol, generator).tokens.numel()) / 2
