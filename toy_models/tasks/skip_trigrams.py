"""Skip-trigrams: a source token anywhere earlier decides which output follows a trigger."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toy_models.errors import InputError
from toy_models.task_config import SkipTrigramsConfig
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
from toy_models.tasks.skip_trigrams_counts import pending_trigger
from toy_models.vocabulary import BOS, Vocabulary

CHUNK = 1024
SCORED = 4


class SkipTrigrams:
    """Sequences [bos] noise .. source noise .. trigger output noise .. with output = table[source, trigger].

    The source stands at one of the `max_source_position` first places; source and place are uniform. A token of
    noise is a trigger with chance `trigger_rate`, else one of the others. After the source, a trigger is
    followed by its output with chance `reliability`, else by noise; before it triggers mean nothing.
    Predictable are the positions after such a trigger. Tokens are numbered bos, sources, triggers, others.
    """

    def __init__(self, config: SkipTrigramsConfig):
        self.config = config
        self.first_source = int(config.bos)
        self.first_trigger = self.first_source + config.n_sources
        self.first_other = self.first_trigger + config.n_triggers
        self.table = self._draw_table()

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
        c = self.config
        kinds = (("S", c.n_sources), ("T", c.n_triggers), ("x", c.n_others))
        labels = tuple(f"{letter}{i}" for letter, number in kinds for i in range(number))
        return Vocabulary((BOS,) * c.bos + labels, bos=0 if c.bos else None, kind="symbols")

    @property
    def noise(self) -> Float[Tensor, " vocab"]:
        """Chance of each token in noise; float64."""
        c = self.config
        noise = torch.zeros(c.d_vocab, dtype=torch.float64)
        noise[self.first_trigger : self.first_other] = c.trigger_rate / c.n_triggers
        noise[self.first_other :] = (1 - c.trigger_rate) / c.n_others
        return noise

    def sample(self, n: int, generator: torch.Generator) -> Batch:
        """n sequences."""
        check_count(n)
        c, first = self.config, int(self.config.bos)
        place = torch.arange(c.n_ctx - first)
        source = torch.randint(c.n_sources, (n, 1), generator=generator)
        source_place = torch.randint(c.max_source_position, (n, 1), generator=generator)
        noise_trigger = torch.rand(n, len(place), generator=generator) < c.trigger_rate
        answered = torch.rand(n, len(place), generator=generator) < c.reliability
        trigger = torch.randint(c.n_triggers, (n, len(place)), generator=generator)
        other = torch.randint(c.n_others, (n, len(place)), generator=generator)
        is_source = place == source_place
        is_trigger = self._triggers(noise_trigger & ~is_source, answered, source_place)
        after = _next(is_trigger & (place > source_place))
        output = _next(self.table[source, trigger])
        data = torch.where(is_trigger, self.first_trigger + trigger, self.first_other + other)
        data = torch.where(after & answered, output, data)
        data = torch.where(is_source, self.first_source + source, data)
        pad = torch.nn.functional.pad
        return Batch(pad(data, (first, 0)), pad(after, (first, 0)))

    def optimal_loss(self, n_sequences: int = 0, generator: torch.Generator | None = None) -> LossEstimate:
        """Entropy of the token after a trigger whose source was seen; exact, so that nothing has to be drawn.

        With q = noise: output has p = reliability + (1 - reliability) q, any other token (1 - reliability) q.
        Which positions are predictable follows from the context, so no reader whatever scores lower.
        """
        return LossEstimate(_entropy(self.answer(self.table[0, 0])), 0.0, 0)

    def bigram_loss(self) -> float:
        """Loss on predictable positions of the best reader that knows only the token just before; exact."""
        answers = torch.stack([torch.stack([self.answer(out) for out in outs]) for outs in self.table])
        return sum(_entropy(mixed) for mixed in answers.mean(dim=0)) / self.config.n_triggers

    def answer(self, output: Int[Tensor, ""]) -> Float[Tensor, " vocab"]:
        """Chances of the token after a trigger with this output."""
        chances = (1 - self.config.reliability) * self.noise
        chances[output] += self.config.reliability
        return chances

    def bayes_log_probs(self, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos vocab"]:
        """ln p(x_i = v | x_0 .. x_{i-1}) for every i and v, exactly; row i predicts the token AT i; float64.

        Before the source: it comes next with chance 1 / (places left for it), else noise. After it: the answer
        if the token before i is a trigger, else noise.
        """
        c, first = self.config, int(self.config.bos)
        check_tokens(tokens, c.d_vocab, c.n_ctx, c.bos)
        data = tokens[:, first:]
        place = torch.arange(data.shape[1])
        seen, source = self._source_before(data)
        coming = (1.0 / (c.max_source_position - place).clamp(min=1).double())[:, None]
        sources = torch.zeros(c.d_vocab, dtype=torch.float64)
        sources[self.first_source : self.first_trigger] = 1 / c.n_sources
        waiting = coming * sources + (1 - coming) * self.noise
        probs = torch.where(seen[..., None], self.noise, waiting)
        before = data.roll(1, dims=1)
        asked = (before >= self.first_trigger) & (before < self.first_other) & seen
        trigger = (before - self.first_trigger).clamp(0, c.n_triggers - 1)
        answers = torch.stack([torch.stack([self.answer(out) for out in outs]) for outs in self.table])
        probs = torch.where(asked[..., None], answers[source, trigger], probs)
        if c.bos:
            bos = torch.nn.functional.one_hot(tokens[:, :1], c.d_vocab)
            probs = torch.cat([bos.to(probs), probs], dim=1)
        return probs.log()

    def order_free_loss(self, n_sequences: int, generator: torch.Generator) -> Bound:
        """Loss on predictable positions of the best reader that sees only how often each token occurred.

        The reader knows that the token before is a trigger after the source, and draws its exact posterior over
        which one from the counts (`skip_trigrams_counts`), so both ends of the bound are the same: only the
        mean over draws is an estimate.
        """
        check_count(n_sequences)
        batch = self.sample(n_sequences, generator)
        first = int(self.config.bos)
        data = batch.tokens[:, first:]
        scored = some_predictable(batch.predictable, SCORED, generator)[:, first:]
        losses = torch.zeros(data.shape, dtype=torch.float64)
        source = self._source_before(data)[1]
        for part in scored.nonzero().split(CHUNK):
            row, place = part.T
            counts = earlier_counts(data[row], self.d_vocab)[torch.arange(len(row)), place]
            losses[row, place] = self._order_free_losses(counts, source[row, place], data[row, place])
        estimate = estimate_loss(losses, scored)
        return Bound(estimate, estimate, "exact posterior given how often each token occurred")

    def _order_free_losses(
        self, counts: Int[Tensor, "row vocab"], source: Int[Tensor, " row"], target: Int[Tensor, " row"]
    ) -> Float[Tensor, " row"]:
        outputs = self.table[source]
        triggers, others = counts[:, self.first_trigger : self.first_other], counts[:, self.first_other :]
        last = pending_trigger(self.config, triggers, counts.gather(1, outputs), others.sum(dim=1))
        right = (last * (outputs == target[:, None])).sum(dim=1)
        chance = self.config.reliability * right + (1 - self.config.reliability) * self.noise[target]
        return -chance.log()

    def _draw_table(self) -> Int[Tensor, "source trigger"]:
        """Outputs as tokens; all different if there are enough others, else within each row and column."""
        c = self.config
        order = torch.randperm(c.n_others, generator=torch.Generator().manual_seed(c.table_seed))
        stride = c.n_triggers if c.n_sources * c.n_triggers <= c.n_others else 1
        cell = stride * torch.arange(c.n_sources)[:, None] + torch.arange(c.n_triggers)
        return self.first_other + order[cell % c.n_others]

    def _triggers(
        self,
        noise_trigger: Bool[Tensor, "batch pos"],
        answered: Bool[Tensor, "batch pos"],
        source_place: Int[Tensor, "batch 1"],
    ) -> Bool[Tensor, "batch pos"]:
        """Which tokens are triggers: those of noise, except where an output takes their place.

        `answered[i]`: if i - 1 is a trigger after the source then i is its output, so in a run of neighbours
        that could each replace the next, every second one is a trigger, from the first on.
        """
        place = torch.arange(noise_trigger.shape[1])
        could_replace = _next(noise_trigger & (place > source_place)) & noise_trigger & answered
        run_start = torch.where(could_replace, 0, place).cummax(dim=1).values
        return noise_trigger & ((place - run_start) % 2 == 0)

    def _source_before(
        self, data: Int[Tensor, "batch pos"]
    ) -> tuple[Bool[Tensor, "batch pos"], Int[Tensor, "batch pos"]]:
        """Whether a source occurred before each place, and which."""
        is_source = (data >= self.first_source) & (data < self.first_trigger)
        if bool((is_source.sum(dim=1) > 1).any()):
            raise InputError("a sequence of this task holds one source token, but one of these holds several")
        which = torch.where(is_source, data - self.first_source + 1, 0).cumsum(dim=1)
        before = torch.nn.functional.pad(which, (1, 0))[:, :-1]
        return before > 0, (before - 1).clamp(0, self.config.n_sources - 1)


def _next(values: Tensor) -> Tensor:
    """The value of the position before; zero at the first."""
    return torch.nn.functional.pad(values, (1, 0))[:, :-1]


def _entropy(chances: Float[Tensor, " outcome"]) -> float:
    return float(-torch.xlogy(chances, chances).sum())
