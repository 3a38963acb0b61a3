"""In-context Markov chains: every sequence has its own transition matrix, to be learned while reading it."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toy_models.task_config import MarkovConfig
from toy_models.tasks.base import Batch, Bound, LossEstimate, chance_loss, check_count, check_tokens, estimate_loss
from toy_models.tasks.counting import Counted, count_features, earlier_counts, fit_reader, reader_losses
from toy_models.vocabulary import Vocabulary, symbol_vocabulary

CHUNK = 256


class Markov:
    """Sequences [bos] x_1 x_2 .. with x_1 uniform and x_{i+1} drawn from row x_i of a matrix drawn per sequence.

    Rows are Dirichlet(alpha, .., alpha). Predictable are the positions whose previous state occurred before
    that: its successor was seen at least once. Source: Edelman et al. 2024 (arXiv:2402.11004), there with
    alpha 1 and every position scored.
    """

    def __init__(self, config: MarkovConfig):
        self.config = config

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
        return symbol_vocabulary(self.config.n_states, self.config.bos)

    def sample(self, n: int, generator: torch.Generator) -> Batch:
        """n sequences, each of its own chain."""
        check_count(n)
        k, first = self.config.n_states, int(self.config.bos)
        length = self.n_ctx - first
        gamma = torch._standard_gamma(torch.full((n, k, k), self.config.alpha).double(), generator=generator)
        steps = (gamma / gamma.sum(dim=2, keepdim=True)).cumsum(dim=2)[..., :-1]
        uniform = torch.rand(n, length - 1, generator=generator)
        first_state = torch.randint(k, (n,), generator=generator)
        data = torch.from_numpy(walk(first_state.numpy(), steps.float().numpy(), uniform.numpy()))
        tokens = torch.nn.functional.pad(data + first, (first, 0))
        return Batch(tokens, torch.nn.functional.pad(predictable_states(data, k), (first, 0)))

    def optimal_loss(self, n_sequences: int, generator: torch.Generator) -> LossEstimate:
        """Loss of the Bayes reader on predictable positions: exact posterior, mean over `n_sequences` draws.

        Which positions are predictable follows from the context, so no reader whatever scores lower.
        """
        check_count(n_sequences)
        losses, masks = [], []
        for start in range(0, n_sequences, CHUNK):
            batch = self.sample(min(CHUNK, n_sequences - start), generator)
            log_probs = self.bayes_log_probs(batch.tokens)
            losses.append(-log_probs.gather(2, batch.tokens[..., None])[..., 0])
            masks.append(batch.predictable)
        return estimate_loss(torch.cat(losses), torch.cat(masks))

    def bayes_log_probs(self, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos vocab"]:
        """ln p(x_i = v | x_0 .. x_{i-1}) for every i and v, exactly; row i predicts the token AT i; float64.

        p = (n_uv + alpha) / (n_u + k alpha), with u the state before i, n_uv its transitions to v before i and
        n_u their sum; 1 / k for the first state.
        """
        check_tokens(tokens, self.d_vocab, self.n_ctx, self.config.bos)
        first, k, alpha = int(self.config.bos), self.config.n_states, self.config.alpha
        data = tokens[:, first:] - first
        moves = transition_counts(data, k)
        index = data[:, :-1, None, None].expand(-1, -1, 1, k)
        row = moves.gather(2, index)[:, :, 0].double()
        later = (row + alpha) / (row.sum(dim=2, keepdim=True) + k * alpha)
        start = torch.full((len(tokens), 1, k), 1 / k, dtype=torch.float64)
        probs = torch.nn.functional.pad(torch.cat([start, later], dim=1)[:, : data.shape[1]], (first, 0))
        if first:
            bos = torch.nn.functional.one_hot(tokens[:, :1], self.d_vocab)
            probs = torch.cat([bos.to(probs), probs], dim=1)
        return probs.log()

    def order_free_loss(self, n_sequences: int, generator: torch.Generator) -> Bound:
        """Bounds on the loss, on predictable positions, of the best reader that sees only the counts of states.

        Upper: the best logits theta[position, count] of all, fitted on `n_sequences` sequences and scored on as
        many fresh ones. Lower: the Bayes reader that sees the context as a ring, without the place where it
        begins, which tells the counts and more (`ring_losses`).
        """
        check_count(n_sequences)
        theta = fit_reader(self._counted(self.sample(n_sequences, generator))[0])
        fresh, data = self._counted(self.sample(n_sequences, generator))
        lower = ring_losses(data, self.config.n_states, self.config.alpha)
        return Bound(
            estimate_loss(lower, fresh.predictable),
            estimate_loss(reader_losses(theta, fresh), fresh.predictable),
            "best logits for each position and count",
        )

    def _counted(self, batch: Batch) -> tuple[Counted, Int[Tensor, "batch data"]]:
        first, k = int(self.config.bos), self.config.n_states
        data = batch.tokens[:, first:] - first
        counts = earlier_counts(data, k)
        return count_features(counts, data, batch.predictable[:, first:], data.shape[1]), data


def walk(first: np.ndarray, steps: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """States [batch pos] of chains: from `first` [batch], by cumulated rows [batch state k-1] and draws [batch pos-1].

    Every state's successor at every step comes first, all at once; then a sequence is a walk through that
    table. In numpy, whose small operations cost a third of torch's.
    """
    n, k, _ = steps.shape
    successor = np.zeros((n, k, uniform.shape[1]), dtype=np.int16)
    for threshold in range(k - 1):
        successor += uniform[:, None] >= steps[:, :, threshold, None]
    sequence = np.arange(n) * k
    table = successor.transpose(2, 0, 1).reshape(-1, n * k) + sequence.repeat(k)
    states = np.empty((1 + len(table), n), dtype=np.int64)
    states[0] = first + sequence
    for i, step in enumerate(table):
        states[i + 1] = step[states[i]]
    return np.ascontiguousarray(states.T) % k


def predictable_states(states: Int[Tensor, "batch pos"], n_states: int) -> Bool[Tensor, "batch pos"]:
    """Where the state before occurred before that."""
    position = torch.arange(states.shape[1]).expand_as(states)
    never = torch.full((len(states), n_states), states.shape[1])
    first = never.scatter_reduce(1, states, position, "amin")
    return torch.nn.functional.pad(first.gather(1, states) < position, (1, 0))[:, :-1]


def transition_counts(states: Int[Tensor, "batch pos"], n_states: int) -> Int[Tensor, "batch step state next"]:
    """Entry [b, i, u, v]: how often v followed u in the states 0 .. i, for i = 0 .. pos - 2."""
    pair = states[:, :-1] * n_states + states[:, 1:]
    seen = torch.nn.functional.one_hot(pair, n_states * n_states).cumsum(dim=1)
    before = torch.nn.functional.pad(seen, (0, 0, 1, 0))[:, :-1]
    return before.unflatten(2, (n_states, n_states))


def ring_losses(states: Int[Tensor, "batch pos"], n_states: int, alpha: float) -> Float[Tensor, "batch pos"]:
    """-ln p(state at i | the states before i as a ring, and that position i is predictable), exactly.

    A ring with transition counts F_uv (the step from the last state to the first included) and n_u = sum_v F_uv
    could have been cut at any of its steps. Cut at a step u -> v, it begins with v, ends with u, and has
    likelihood proportional to (n_u - 1 + k alpha) / (F_uv - 1 + alpha), and then predicts w with
    (F_uw - [w = v] + alpha) / (n_u - 1 + k alpha). So

        p(w) proportional to sum_uv [n_u >= 2] F_uv (F_uw - [w = v] + alpha) / (F_uv - 1 + alpha).

    Positions that are not predictable get inf or a number without meaning.
    """
    within = transition_counts(states, n_states)
    last, begin = states[:, :-1], states[:, :1].expand(-1, states.shape[1] - 1)
    closing = torch.nn.functional.one_hot(last * n_states + begin, n_states * n_states)
    ring = (within + closing.unflatten(2, (n_states, n_states))).double()
    seen_twice = ring.sum(dim=3, keepdim=True) >= 2
    cuts = torch.where((ring > 0) & seen_twice, ring / (ring - 1 + alpha), 0.0)
    mass = torch.einsum("bpuv,bpuw->bpw", cuts, ring + alpha) - cuts.sum(dim=2)
    probs = mass / mass.sum(dim=2, keepdim=True)
    losses = -probs.gather(2, states[:, 1:, None])[..., 0].log()
    return torch.nn.functional.pad(losses.nan_to_num(nan=torch.inf), (1, 0), value=torch.inf)
