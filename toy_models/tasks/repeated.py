"""Repeated random tokens: a few fresh tokens, then one random block again and again."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toy_models.errors import InputError
from toy_models.task_config import RepeatedTokensConfig
from toy_models.tasks.base import (
    Batch,
    Bound,
    LossEstimate,
    chance_loss,
    check_count,
    check_tokens,
    estimate_loss,
    some_predictable,
)
from toy_models.tasks.counting import earlier_counts
from toy_models.tasks.repeated_counts import order_free_losses
from toy_models.vocabulary import Vocabulary, symbol_vocabulary

CHUNK = 256
SCORED = 4


@dataclass(frozen=True)
class Draw:
    """A batch with what a reader does not see: each sequence's period and offset."""

    batch: Batch
    period: Int[Tensor, " batch"]
    offset: Int[Tensor, " batch"]


class RepeatedTokens:
    """Sequences [bos] f_1 .. f_o (b_1 .. b_p)(b_1 .. b_p).. cut at n_ctx, with all f and b iid uniform.

    Offset o is uniform in 0..max_offset and period p in min_period..max_period, drawn for each sequence.
    With bos, token 0 begins the sequence and data are drawn from 1..d_vocab-1. Predictable are the
    positions from bos + o + p on: copies of a block seen in full.
    """

    def __init__(self, config: RepeatedTokensConfig):
        self.config = config
        self.n_symbols = config.d_vocab - config.bos

    @property
    def d_vocab(self) -> int:
        return self.config.d_vocab

    @property
    def n_ctx(self) -> int:
        return self.config.n_ctx

    @property
    def chance_loss(self) -> float:
        return chance_loss(self.d_vocab)

    @property
    def vocabulary(self) -> Vocabulary:
        return symbol_vocabulary(self.n_symbols, self.config.bos)

    def sample(self, n: int, generator: torch.Generator) -> Batch:
        """n sequences."""
        return self.draw(n, generator).batch

    def draw(self, n: int, generator: torch.Generator) -> Draw:
        """n sequences with their periods and offsets."""
        check_count(n)
        c = self.config
        period = torch.randint(c.min_period, c.max_period + 1, (n, 1), generator=generator)
        offset = torch.randint(0, c.max_offset + 1, (n, 1), generator=generator)
        fresh = torch.randint(int(c.bos), c.d_vocab, (n, c.n_ctx), generator=generator)
        if c.bos:
            fresh[:, 0] = 0
        start = offset + int(c.bos)
        position = torch.arange(c.n_ctx)
        predictable = position >= start + period
        source = torch.where(predictable, start + (position - start) % period, position)
        return Draw(Batch(fresh.gather(1, source), predictable), period[:, 0], offset[:, 0])

    def optimal_loss(
        self, n_sequences: int, generator: torch.Generator, told_predictable: bool = False
    ) -> LossEstimate:
        """Loss of the Bayes reader on predictable positions: exact posterior, mean over `n_sequences` draws.

        The reader of `bayes_log_probs` gives every position its best prediction, and so does not know that
        it is only scored where copies stand. A model trained on all positions tends to it. With
        `told_predictable` the reader knows that the scored token is a copy, and only not of which period:
        no reader whatever scores lower, but no model trained on all positions tends there.
        """
        check_count(n_sequences)
        losses, masks = [], []
        for start in range(0, n_sequences, CHUNK):
            batch = self.sample(min(CHUNK, n_sequences - start), generator)
            losses.append(self.bayes_losses(batch.tokens, told_predictable))
            masks.append(batch.predictable)
        return estimate_loss(torch.cat(losses), torch.cat(masks))

    def order_free_loss(self, n_sequences: int, generator: torch.Generator) -> Bound:
        """Loss on predictable positions of the best reader that sees only how often each token occurred.

        The reader knows the position, and that the scored token is a copy, and draws its exact posterior from
        the counts (`repeated_counts`), so both ends of the bound are the same: only the mean over draws is an
        estimate, from about `SCORED` random predictable positions of each sequence.
        """
        check_count(n_sequences)
        batch = self.sample(n_sequences, generator)
        first = int(self.config.bos)
        data = batch.tokens[:, first:] - first
        scored = some_predictable(batch.predictable, SCORED, generator)[:, first:]
        losses = torch.zeros(data.shape, dtype=torch.float64)
        for part in scored.nonzero().split(CHUNK * SCORED):
            row, position = part.T
            counts = earlier_counts(data[row], self.n_symbols)[torch.arange(len(row)), position]
            losses[row, position] = order_free_losses(self.config, counts, data[row, position], position)
        estimate = estimate_loss(losses, scored)
        return Bound(estimate, estimate, "exact posterior given how often each token occurred")

    def bayes_losses(
        self, tokens: Int[Tensor, "batch pos"], told_predictable: bool = False
    ) -> Float[Tensor, "batch pos"]:
        """-ln p(token at i | tokens before i) in nats, under the generator; float64.

        `told_predictable`: given also that i is a copy; inf where none of the reader's hypotheses allows it.
        """
        data, copied, copy_mass, fresh_mass = self._hypotheses(tokens)
        fresh = torch.zeros_like(fresh_mass) if told_predictable else fresh_mass
        total = torch.logaddexp(copy_mass.logsumexp(dim=1), fresh.log())
        right = copy_mass.masked_fill(copied != data[:, None], -math.inf).logsumexp(dim=1)
        losses = total - torch.logaddexp(right, (fresh / self.n_symbols).log())
        losses = torch.where(total.isinf(), math.inf, losses)
        return torch.nn.functional.pad(losses, (int(self.config.bos), 0))

    def bayes_log_probs(self, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos vocab"]:
        """ln p(x_i = v | x_0 .. x_{i-1}) for every i and v, exactly; row i predicts the token AT i; float64.

        Hypotheses (p, o) have equal prior weight and likelihood n_symbols^-(fresh tokens so far) where the
        prefix is consistent with them, else 0. One whose first copy is still to come says uniform, the others
        say x_{i-p}. The best logits at position i - 1 are row i.
        """
        data, copied, copy_mass, fresh_mass = self._hypotheses(tokens)
        peak = torch.maximum(copy_mass.amax(dim=1), fresh_mass.log())
        weight = (copy_mass - peak[:, None]).exp().transpose(1, 2)
        fresh = fresh_mass * (-peak).exp()
        mass = torch.zeros(*data.shape, self.d_vocab, dtype=torch.float64)
        mass[..., int(self.config.bos) :] = (fresh / self.n_symbols)[..., None]
        mass.scatter_add_(2, copied.transpose(1, 2), weight)
        probs = mass / mass.sum(dim=2, keepdim=True)
        if self.config.bos:
            first = torch.nn.functional.one_hot(tokens[:, :1], self.d_vocab)
            probs = torch.cat([first.to(probs), probs], dim=1)
        return probs.log()

    def _hypotheses(
        self, tokens: Int[Tensor, "batch pos"]
    ) -> tuple[
        Int[Tensor, "batch data"],
        Int[Tensor, "batch period data"],
        Float[Tensor, "batch period data"],
        Float[Tensor, " data"],
    ]:
        """Data tokens, what a copy with each period would be, and the posterior mass of both kinds of hypothesis.

        With s = o + p the start of the copies, the mass of (p, o) before data position t, up to a factor, is
        n_symbols^(t - s) if it is consistent and s <= t, and 1 if s > t. Consistent means s > L_p(t), the
        last position before t where x differs from x p places earlier. So the copy mass of a period is a
        geometric series over s = max(p, L_p + 1) .. min(p + max_offset, t), returned as its logarithm; the
        mass that says "still fresh" does not depend on the tokens.
        """
        c = self.config
        check_tokens(tokens, c.d_vocab, c.n_ctx, c.bos)
        data = tokens[:, int(c.bos) :]
        t = torch.arange(data.shape[1])
        period = torch.arange(c.min_period, c.max_period + 1)[:, None]
        copied = data[:, (t - period).clamp(min=0)]
        differs = (copied != data[:, None]) & (t >= period)
        last = torch.where(differs, t, -1).cummax(dim=2).values.roll(1, dims=2)
        last[..., :1] = -1
        first = torch.maximum(period, last + 1)
        count = torch.minimum(period + c.max_offset, t) - first + 1
        log_symbols = math.log(self.n_symbols)
        series = torch.log1p(-torch.exp(-log_symbols * count.clamp(min=1).double())) - math.log1p(-1 / self.n_symbols)
        copy_mass = torch.where(count > 0, (t - first).double() * log_symbols + series, -math.inf)
        fresh_mass = (period + c.max_offset - torch.maximum(t + 1, period) + 1).clamp(min=0).sum(dim=0).double()
        possible = copy_mass.amax(dim=1).isfinite() | (fresh_mass > 0)
        if not bool(possible.all()):
            row = int((~possible.all(dim=1)).nonzero()[0])
            raise InputError(f"sequence {row} cannot come from this task: no period and offset agree with it")
        return data, copied, copy_mass, fresh_mass
