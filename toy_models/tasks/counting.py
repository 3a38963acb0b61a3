"""Readers that only count: the best table of logits by position and count, fitted on one sample, scored on another."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

RIDGE = 3e-4
"""Weight of the squared difference of a position's logits from those that all positions share."""
SHARED_RIDGE = 1e-6
"""Weight of the squared shared logits, so that a count that never came has a logit all the same."""


@dataclass(frozen=True)
class Counted:
    """For every position: how many tokens have each feature, and which feature the token that came has.

    A feature is a whole number that a reader computes for each token of the vocabulary from what it sees,
    for instance the number of times the token occurred before.
    """

    tokens_with: Float[Tensor, "batch pos feature"]
    target: Int[Tensor, "batch pos"]
    predictable: Bool[Tensor, "batch pos"]


def earlier_counts(tokens: Int[Tensor, "batch pos"], d_vocab: int) -> Int[Tensor, "batch pos vocab"]:
    """How often each token occurred before each position."""
    seen = torch.nn.functional.one_hot(tokens, d_vocab).cumsum(dim=1)
    return torch.nn.functional.pad(seen, (0, 0, 1, 0))[:, :-1]


def count_features(
    features: Int[Tensor, "batch pos vocab"],
    tokens: Int[Tensor, "batch pos"],
    predictable: Bool[Tensor, "batch pos"],
    n_features: int,
) -> Counted:
    """Counts of each feature of the vocabulary's tokens; `tokens` index the last axis of `features`."""
    tokens_with = torch.zeros(*tokens.shape, n_features, dtype=torch.float64)
    tokens_with.scatter_add_(2, features, torch.ones(()).double().expand(features.shape))
    return Counted(tokens_with, features.gather(2, tokens[..., None])[..., 0], predictable)


def fit_reader(counted: Counted) -> Float[Tensor, "pos feature"]:
    """The logits theta[position, feature] with the lowest mean loss on the predictable positions of a sample.

    The reader is q(v) = exp theta[i, f_v] / sum_w exp theta[i, f_w]; its mean loss is convex in theta.
    """
    n_positions, n_features = counted.tokens_with.shape[1:]
    shared = torch.zeros(n_features, dtype=torch.float64, requires_grad=True)
    own = torch.zeros(n_positions, n_features, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([shared, own], max_iter=60, history_size=20, line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        optimizer.zero_grad()
        mean = reader_losses(shared + own, counted)[counted.predictable].mean()
        loss = mean + RIDGE * own.square().sum() + SHARED_RIDGE * shared.square().sum()
        loss.backward()
        return loss

    optimizer.step(objective)
    return (shared + own).detach()


def reader_losses(theta: Float[Tensor, "pos feature"], counted: Counted) -> Float[Tensor, "batch pos"]:
    """-ln q(token at i) in nats for the reader with the logits theta."""
    peak = theta.detach().amax(dim=1)
    weight = (theta - peak[:, None]).exp()
    total = torch.einsum("bpf,pf->bp", counted.tokens_with, weight).log() + peak
    position = torch.arange(theta.shape[0])
    return total - theta[position, counted.target]
