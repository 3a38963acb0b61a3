"""What the judge asks: sequences of the training task at periods that the audit did not use, from another seed."""

import math
from dataclasses import dataclass, replace
from functools import cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.heads.stimuli import olsson_protocol, other_periods
from toy_models.errors import InputError
from toy_models.task_config import RepeatedTokensConfig
from toy_models.tasks import RepeatedTokens
from toy_models.tasks.counting import earlier_counts
from toy_models.tasks.repeated_counts import order_free_losses

SEED = 77_000
"""Of the judge's sequences and stand-ins; audits draw from seed 0."""
N_SEQUENCES = 96


@dataclass(frozen=True, eq=False)
class Questions:
    """Sequences with what can be predicted in each, and what a reader without order gains there.

    `order_free[b]` is the gain of the best reader that only counts tokens, in nats: ln(n_symbols), which is its loss on
    tokens that nothing predicts, minus its mean loss on the predictable ones of sequence b.
    """

    tokens: Int[Tensor, "batch pos"]
    predictable: Bool[Tensor, "batch pos"]
    order_free: Float[Tensor, " batch"]
    possible: float
    """What the Bayes-optimal reader gains above the order-free one, in nats: the most that a model can have."""
    periods: tuple[int, ...]

    def every(self, nth: int) -> "Questions":
        """Every nth sequence."""
        return replace(self, **{n: getattr(self, n)[::nth] for n in ("tokens", "predictable", "order_free")})

    @property
    def masks(self) -> Bool[Tensor, "which batch pos"]:
        """The predictable tokens, and the others but the first of all, which nothing comes before."""
        others = ~self.predictable
        others[:, 0] = False
        return torch.stack([self.predictable, others])


def audited_periods(task: RepeatedTokensConfig) -> set[int]:
    """The periods of the audit's protocols for a model of the task's vocabulary and context."""
    first = olsson_protocol(task.d_vocab, task.n_ctx, 0 if task.bos else None)
    return {first.period, *(other.period for other in other_periods(first, task.n_ctx))}


@cache
def questions(task: RepeatedTokensConfig, n: int = N_SEQUENCES, seed: int = SEED) -> Questions:
    """About `n` sequences, as many of each period that the task trains on and no audit looks at.

    Their tokens and the number of fresh ones before the first block are drawn as the task draws them.
    Raises `InputError` if the audit uses all of the task's periods.
    """
    periods = sorted(set(range(task.min_period, task.max_period + 1)) - audited_periods(task))
    if not periods:
        raise InputError(f"the audit uses every period from {task.min_period} to {task.max_period}: none is left")
    generator = torch.Generator().manual_seed(seed)
    each = [RepeatedTokens(replace(task, min_period=p, max_period=p)) for p in periods]
    batches = [one.sample(math.ceil(n / len(periods)), generator) for one in each]
    tokens = torch.cat([batch.tokens for batch in batches])
    predictable = torch.cat([batch.predictable for batch in batches])
    order_free = order_free_gain(task, tokens, predictable)
    optimal = RepeatedTokens(task).bayes_losses(tokens)
    best = math.log(task.d_vocab - int(task.bos)) - (optimal * predictable).sum(1) / predictable.sum(1)
    return Questions(tokens, predictable, order_free, float((best - order_free).mean()), tuple(periods))


def order_free_gain(
    task: RepeatedTokensConfig, tokens: Int[Tensor, "batch pos"], predictable: Bool[Tensor, "batch pos"]
) -> Float[Tensor, " batch"]:
    """ln(n_symbols) minus the mean loss, on the predictable tokens of each sequence, of the order-free reader.

    The reader knows the task, the position, that the token is a copy, and how often each token came before, but not
    in which order; its posterior is exact (`toy_models.tasks.repeated_counts`).
    """
    first, n_symbols = int(task.bos), task.d_vocab - int(task.bos)
    data, scored = tokens[:, first:] - first, predictable[:, first:]
    row, position = scored.nonzero().T
    counts = earlier_counts(data, n_symbols)[row, position]
    losses = torch.zeros(data.shape, dtype=torch.float64)
    losses[row, position] = order_free_losses(task, counts, data[row, position], position)
    return math.log(n_symbols) - losses.sum(1) / scored.sum(1)
