"""The sequences that paths are read on: random ones that repeat, or the one that was given."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from analyses.loading import Subject
from analyses.sequences import Example
from interp.errors import InputError
from interp.heads import Protocol, olsson_protocol, predictable_positions, repeated_tokens
from interp.stats import Estimates, bootstrap_intervals

SEQUENCES = 32


@dataclass(frozen=True, eq=False)
class Sample:
    """Sequences, and which of their tokens count."""

    tokens: Int[Tensor, "batch pos"]
    scored: Bool[Tensor, "batch pos"]
    text: str
    """What they are, in words."""
    protocol: Protocol | None
    """How they were drawn; None for a sequence that was given."""

    @property
    def single(self) -> bool:
        """Whether there is one sequence only, and so no interval over sequences."""
        return len(self.tokens) == 1


def random_sample(subject: Subject, seed: int) -> Sample:
    """Random sequences that repeat, as `interp lens` draws them; tokens that an earlier copy predicts count."""
    config = subject.config
    protocol = olsson_protocol(config.d_vocab, config.n_ctx, subject.bos, subject.excluded)
    tokens = repeated_tokens(protocol, SEQUENCES, torch.Generator().manual_seed(seed))
    return repeated_sample(tokens, predictable_positions(protocol, SEQUENCES), protocol)


def repeated_sample(
    tokens: Int[Tensor, "batch pos"], predictable: Bool[Tensor, "batch pos"], protocol: Protocol
) -> Sample:
    """Sequences of a protocol that were drawn already."""
    return Sample(tokens, predictable, f"{len(tokens)} sequences: {protocol.text}", protocol)


def given_sample(example: Example) -> Sample:
    """One sequence, of which every token but the first counts; `InputError` if nothing follows its first token."""
    if example.tokens.shape[1] < 2:
        raise InputError(f"{example.source} hold a single token, which nothing follows: paths need at least two")
    scored = torch.ones_like(example.tokens, dtype=torch.bool)
    scored[:, 0] = False
    return Sample(example.tokens, scored, example.source, None)


def estimated(samples: Float[Tensor, "n *rest"], generator: torch.Generator) -> Estimates:
    """Means over sequences with bootstrap intervals, whose ends are NaN where there is one sequence only."""
    if len(samples) > 1:
        return bootstrap_intervals(samples, generator)
    mean = samples[0].double().cpu()
    nothing = torch.full_like(mean, torch.nan)
    return Estimates(mean, nothing, nothing, 1, 0.95, "one sequence, no interval")
