"""What every task gives: sequences, which of their tokens context predicts, and the losses to compare a model with."""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toy_models.errors import InputError
from toy_models.task_config import TaskConfig
from toy_models.vocabulary import Vocabulary


@dataclass(frozen=True)
class Batch:
    """Token sequences and a mask: `predictable[b, i]` says that context before i tells about the token AT i.

    The logits at position i - 1 are the ones scored for it; `predictable[:, 0]` is always False.
    """

    tokens: Int[Tensor, "batch pos"]
    predictable: Bool[Tensor, "batch pos"]


@dataclass(frozen=True)
class LossEstimate:
    """Cross-entropy in nats on predictable positions, with the standard error of its mean over `n` sequences.

    `standard_error` 0 with `n` 0 means that the value is exact.
    """

    mean: float
    standard_error: float
    n: int


@dataclass(frozen=True)
class Bound:
    """A loss that no formula gives, held between two that can be computed: lower <= loss <= upper.

    `lower` is None where no sound lower bound is known. `reader` says who attains the upper one. Both are
    estimates: the inequality is sure up to their standard errors.
    """

    lower: LossEstimate | None
    upper: LossEstimate
    reader: str


@runtime_checkable
class Task(Protocol):
    """Token sequences with known losses.

    `optimal_loss`: the loss, on predictable positions, of the reader that knows the generator but none of
    its draws and predicts every position as well as can be; None where nobody knows it (real text).
    `order_free_loss`: the lowest loss on predictable positions of any reader that sees how often each token
    occurred before, but not in which order; None where it is not known.
    `chance_loss`: ln d_vocab, what an untrained model with equal logits scores.
    """

    @property
    def config(self) -> TaskConfig: ...

    @property
    def d_vocab(self) -> int: ...

    @property
    def n_ctx(self) -> int: ...

    @property
    def vocabulary(self) -> Vocabulary: ...

    @property
    def chance_loss(self) -> float: ...

    def sample(self, n: int, generator: torch.Generator) -> Batch: ...

    def optimal_loss(self, n_sequences: int, generator: torch.Generator) -> LossEstimate | None: ...

    def order_free_loss(self, n_sequences: int, generator: torch.Generator) -> Bound | None: ...


def chance_loss(d_vocab: int) -> float:
    """ln d_vocab: the loss, in nats, of equal logits for every token of the vocabulary.

    A reader that knows only which tokens the data are made of (never token 0, where that begins every
    sequence) already has ln (d_vocab - 1).
    """
    return math.log(d_vocab)


def estimate_loss(losses: Float[Tensor, "batch pos"], predictable: Bool[Tensor, "batch pos"]) -> LossEstimate:
    """Mean loss over all predictable positions together, with its standard error over sequences.

    mean = sum_b S_b / sum_b C_b with S_b the summed loss and C_b the number of predictable positions of a
    sequence; standard error of that ratio (delta method) sd(S_b - mean C_b) / (sqrt(n) mean(C_b)).
    """
    summed = torch.where(predictable, losses, 0.0).sum(dim=1).double()
    counted = predictable.sum(dim=1).double()
    n = len(summed)
    if counted.sum() == 0:
        raise InputError(f"none of the {n} sequences has a predictable position; sample more sequences")
    mean = float(summed.sum() / counted.sum())
    spread = float((summed - mean * counted).std()) if n > 1 else math.inf
    return LossEstimate(mean, spread / (math.sqrt(n) * float(counted.mean())), n)


def some_predictable(
    predictable: Bool[Tensor, "batch pos"], per_sequence: int, generator: torch.Generator
) -> Bool[Tensor, "batch pos"]:
    """Random predictable positions, about `per_sequence` of each sequence, all equally likely to be chosen.

    The positions of one sequence tell much the same, so a slow loss is better spent on more sequences.
    """
    share = per_sequence * len(predictable) / max(1, int(predictable.sum()))
    chosen = predictable & (torch.rand(predictable.shape, generator=generator) < share)
    return chosen if chosen.any() else predictable


def check_count(n: int, what: str = "sequences") -> None:
    """`InputError` unless at least one is asked for."""
    if n < 1:
        raise InputError(f"the number of {what} must be at least 1, got {n}")


def check_tokens(tokens: Int[Tensor, "batch pos"], d_vocab: int, n_ctx: int, bos: bool) -> None:
    """`InputError` unless these are sequences a task could have made: known tokens, not too long, bos first."""
    if tokens.shape[1] > n_ctx:
        raise InputError(f"sequences of {tokens.shape[1]} tokens, but the task's context is {n_ctx}")
    if tokens.numel() and not 0 <= int(tokens.min()) <= int(tokens.max()) < d_vocab:
        raise InputError(f"tokens must lie in 0..{d_vocab - 1}, got {int(tokens.min())}..{int(tokens.max())}")
    if bos and not bool(((tokens == 0) == (torch.arange(tokens.shape[1]) == 0)).all()):
        raise InputError("token 0 must stand at the beginning of every sequence and nowhere else")
