"""Skip-trigrams without their order: which trigger came last, for a reader who sees only how often each token occurred.

Relative to pure noise, a sequence has likelihood prod (1 - rho) + kappa [output follows] over the triggers after
the source that are followed by something, with rho the reliability and kappa = rho / (chance of the output in
noise). Multiplied out: each such trigger is either a token like others, with factor 1 - rho, or glued to the
output that follows it, with factor kappa. So count arrangements of loose tokens and glued pairs. Of N
tokens besides the source let a stand before it, K pairs be glued, and the trigger g come last; then the
orders number a! (N - a - K - 1)! times, summed over which tokens stand where,

    [x^a z^K]  (1 + x)^others  prod_h f(m_h - [h = g], o_h),
    f(m, o) = sum over i, j, k of  x^(i+j) (kappa z)^k (1 - rho)^(m-i-k) / (i! j! k! (m-i-k)! (o-j-k)!),

where m_h and o_h are the counts of a trigger and of its output, i and j of which stand before the source.
All terms are positive: nothing cancels. a is uniform in 0 .. max_source_position - 1.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toy_models.task_config import SkipTrigramsConfig
from toy_models.tasks.polynomials import constant_one, times


def pending_trigger(
    config: SkipTrigramsConfig,
    trigger_counts: Int[Tensor, "row trigger"],
    output_counts: Int[Tensor, "row trigger"],
    n_others: Int[Tensor, " row"],
) -> Float[Tensor, "row trigger"]:
    """p(the last token is trigger g | counts before, the source, and that the last token is a trigger after it).

    `output_counts`: how often the outputs of this source's triggers occurred; `n_others`: how many tokens
    besides source and triggers, outputs included.
    """
    n_rows, n_triggers = trigger_counts.shape
    n_a = config.max_source_position
    n_pairs = 1 + int(torch.minimum(trigger_counts, output_counts).sum(dim=1).max())
    loose = n_others - output_counts.sum(dim=1)
    tables = torch.zeros(n_rows, 1 + n_triggers, n_a, n_pairs, dtype=torch.float64)
    tables[:, 0, :, 0] = _binomial(loose, n_a)
    key = trigger_counts * (int(output_counts.max()) + 1) + output_counts
    for g in range(n_triggers):
        for value in key[:, g].unique().tolist():
            rows = (key[:, g] == value).nonzero()[:, 0]
            m, o = int(trigger_counts[rows[0], g]), int(output_counts[rows[0], g])
            if m:
                tables[rows, 1 + g] = times(tables[rows, 0], _factor(config, m - 1, o, n_a, n_pairs))
            tables[rows, : 1 + g] = times(tables[rows, : 1 + g], _factor(config, m, o, n_a, n_pairs))
    tokens = trigger_counts.sum(dim=1) + n_others
    weight = tables[:, 1:].log() + _log_orders(tokens, n_a, n_pairs)[:, None]
    return weight.flatten(2).logsumexp(dim=2).softmax(dim=1)


def _log_orders(tokens: Int[Tensor, " row"], n_a: int, n_pairs: int) -> Float[Tensor, "row a pairs"]:
    """ln (a! (N - a - K - 1)!), -inf where there are not so many tokens."""
    a = torch.arange(n_a)[:, None].double()
    units = tokens[:, None, None] - a - torch.arange(n_pairs) - 1
    orders = torch.lgamma(a + 1) + torch.lgamma(units.clamp(min=0) + 1)
    return torch.where(units >= 0, orders, -torch.inf)


def _binomial(n: Int[Tensor, " row"], size: int) -> Float[Tensor, "row power"]:
    """Coefficients of (1 + x)^n."""
    n, i = n[:, None].double(), torch.arange(size).double()
    rest = n - i
    log_ways = torch.lgamma(n + 1) - torch.lgamma(i + 1) - torch.lgamma(rest.clamp(min=0) + 1)
    return torch.where(rest >= 0, log_ways.exp(), 0.0)


def _factor(config: SkipTrigramsConfig, m: int, o: int, n_a: int, n_pairs: int) -> Float[Tensor, "a pairs"]:
    """f(m, o) as a table over the powers of x and z."""
    kappa = config.reliability * config.n_others / (1 - config.trigger_rate)
    table = 0 * constant_one(n_a, n_pairs)
    for k in range(min(m, o, n_pairs - 1) + 1):
        i = torch.arange(min(m - k, n_a - 1) + 1).double()[:, None]
        j = torch.arange(min(o - k, n_a - 1) + 1).double()
        log_ways = torch.lgamma(i + 1) + torch.lgamma(j + 1) + torch.lgamma(m - i - k + 1) + torch.lgamma(o - j - k + 1)
        terms = (-log_ways - math.lgamma(k + 1)).exp() * kappa**k * (1 - config.reliability) ** (m - i - k)
        power = (i + j).long()
        inside = power < n_a
        table[:, k].index_add_(0, power[inside], terms[inside])
    return table
