"""Repeated tokens without their order: the exact posterior of a reader who sees only how often each token occurred.

Say that t data tokens were seen and that the hypothesis is offset o and period p, with c = (t - o) // p whole
blocks and r = (t - o) % p slots of the next. Then o prefix slots each give one occurrence of their token, r used
block slots c + 1, and p - r unused ones c. The slots hold iid uniform symbols, so the counts n_v have probability

    V^-(o + p)  o! r! (p - r)!  [x^o y^r z^(p-r)]  prod_v f(n_v),
    f(n) = sum over a + (c+1) b + c d = n of  x^a y^b z^d / (a! b! d!),

and the next token is that of a random unused slot: with v it is the same with z df/dz in place of f for that v,
divided by p - r. Since b = n - a - c (b + d), a polynomial is a table over (a, b + d), at most max_offset + 1 by
max_period + 1. All terms are positive: nothing cancels.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toy_models.task_config import RepeatedTokensConfig
from toy_models.tasks.polynomials import constant_one, times


def order_free_losses(
    config: RepeatedTokensConfig,
    counts: Int[Tensor, "row symbol"],
    target: Int[Tensor, " row"],
    seen: Int[Tensor, " row"],
) -> Float[Tensor, " row"]:
    """-ln p(target | counts, and that the target is a copy) in nats, exactly, one row for each position scored.

    `counts`: how often each data symbol occurred before; `target`: the symbol that came; `seen`: the sum of
    the counts.
    """
    n_symbols = counts.shape[1]
    histogram = torch.zeros(len(counts), int(seen.max()) + 1, dtype=torch.int64)
    histogram.scatter_add_(1, counts, torch.ones(()).long().expand(counts.shape))
    target_count = counts.gather(1, target[:, None])[:, 0]
    histogram.scatter_add_(1, target_count[:, None], -torch.ones_like(target_count)[:, None])
    right = torch.full((len(counts),), -math.inf, dtype=torch.float64)
    total = right.clone()
    for copies in range(1, int(seen.max()) // config.min_period + 1):
        longest = config.max_offset + (copies + 1) * config.max_period
        rows = ((seen >= copies * config.min_period) & (seen < longest)).nonzero()[:, 0]
        if len(rows) == 0:
            continue
        tables = _Tables(config.max_offset, min(config.max_period, int(seen.max()) // copies), copies)
        log_weight, log_unused = _hypotheses(config, tables, seen[rows], n_symbols)
        others = tables.product(histogram[rows])
        with_any = tables.times_one(others, target_count[rows], derivative=False).log() + log_weight
        with_next = tables.times_one(others, target_count[rows], derivative=True).log() + log_weight - log_unused
        total[rows] = torch.logaddexp(total[rows], with_any.flatten(1).logsumexp(dim=1))
        right[rows] = torch.logaddexp(right[rows], with_next.flatten(1).logsumexp(dim=1))
    return total - right


def _hypotheses(
    config: RepeatedTokensConfig, tables: "_Tables", seen: Int[Tensor, " row"], n_symbols: int
) -> tuple[Float[Tensor, "row a s"], Float[Tensor, "row a s"]]:
    """ln (V^-(o+p) o! r! (p-r)!), -inf where (o, p) does not belong to this table, and ln (p - r)."""
    offset = torch.arange(tables.n_offsets, dtype=torch.float64)[:, None]
    period = torch.arange(tables.n_periods, dtype=torch.float64)
    used = seen[:, None, None].double() - offset - tables.copies * period
    possible = (used >= 0) & (used < period) & (period >= config.min_period)
    used = torch.where(possible, used, 0.0)
    weight = torch.lgamma(offset + 1) + torch.lgamma(used + 1) + torch.lgamma(period - used + 1)
    weight = weight - (offset + period) * math.log(n_symbols)
    return torch.where(possible, weight, -math.inf), torch.where(possible, period - used, 1.0).log()


class _Tables:
    """Polynomials for one number of copies, as tables over (a, s = b + d), cut at the largest offset and period."""

    def __init__(self, max_offset: int, max_period: int, copies: int):
        self.n_offsets = max_offset + 1
        self.n_periods = max_period + 1
        self.copies = copies

    def product(self, histogram: Int[Tensor, "row count"]) -> Float[Tensor, "row a s"]:
        """prod_n f(n)^histogram[n] for every row."""
        tables = constant_one(self.n_offsets, self.n_periods).repeat(len(histogram), 1, 1)
        for count in range(1, histogram.shape[1]):
            factor = self.factor(count)
            power = constant_one(self.n_offsets, self.n_periods)
            for exponent in range(1, int(histogram[:, count].max()) + 1):
                power = times(power, factor)
                rows = histogram[:, count] == exponent
                if rows.any():
                    tables[rows] = times(tables[rows], power)
        return tables

    def times_one(
        self, tables: Float[Tensor, "row a s"], count: Int[Tensor, " row"], derivative: bool
    ) -> Float[Tensor, "row a s"]:
        """Each table times f(count), or times z df/dz."""
        result = torch.empty_like(tables)
        for value in count.unique().tolist():
            rows = count == value
            result[rows] = times(tables[rows], self.factor(value, derivative))
        return result

    def factor(self, count: int, derivative: bool = False) -> Float[Tensor, "a s"]:
        """f(count), or z df/dz: entry [a, s] has b = count - a - copies s used and d = s - b unused slots."""
        a = torch.arange(self.n_offsets, dtype=torch.float64)[:, None]
        s = torch.arange(self.n_periods, dtype=torch.float64)
        b = count - a - self.copies * s
        d = s - b
        ways = -torch.lgamma(a + 1) - torch.lgamma(b.clamp(min=0) + 1) - torch.lgamma(d.clamp(min=0) + 1)
        return torch.where((b >= 0) & (d >= 0), ways.exp() * (d if derivative else 1.0), 0.0)
