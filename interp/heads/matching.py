"""Which entries of an attention pattern a detector reads, and what it makes of them.

An *entry* is a pair (dest, src); a mask of entries is `Bool[batch dest src]`. A query (a dest) is *eligible* if its
row has an entry. Scores are means over eligible queries, so what lies outside them neither helps nor harms.
"""

import torch
from einops import einsum
from jaxtyping import Bool, Float, Int
from torch import Tensor


def offset_entries(tokens: Int[Tensor, "batch pos"], back: int) -> Bool[Tensor, "batch dest src"]:
    """The token `back` positions before the query: (i, i - back), at queries that have one; not (0, 0)."""
    n, length = tokens.shape
    one = torch.eye(length, dtype=torch.bool, device=tokens.device).roll(back, dims=0)
    one[: max(back, 1)] = False
    return one.expand(n, -1, -1)


def first_entries(tokens: Int[Tensor, "batch pos"]) -> Bool[Tensor, "batch dest src"]:
    """Position 0 seen from every later one."""
    n, length = tokens.shape
    mask = torch.zeros(length, length, dtype=torch.bool, device=tokens.device)
    mask[1:, 0] = True
    return mask.expand(n, -1, -1)


def copy_entries(tokens: Int[Tensor, "batch pos"], offset: int = 0) -> Bool[Tensor, "batch dest src"]:
    """Positions `offset` after an earlier copy of the query's token: (i, m + offset), m < i, tokens[m] = tokens[i].

    0: the copies themselves (duplicate tokens); 1: what follows them (prefix matching); -1: what stands before them.
    A source never lies after its query; with offset 1 it may be the query itself, where a token comes twice in a row.
    """
    length = tokens.shape[1]
    copies = (tokens[:, :, None] == tokens[:, None, :]).tril(-1)
    moved = torch.zeros_like(copies)
    if abs(offset) < length:
        source = slice(max(0, -offset), length - max(0, offset))
        target = slice(max(0, offset), length - max(0, -offset))
        moved[:, :, target] = copies[:, :, source]
    return moved.tril()


def mass(
    pattern: Float[Tensor, "batch head dest src"], entries: Bool[Tensor, "batch dest src"]
) -> Float[Tensor, "batch head"]:
    """Attention on a query's entries together, averaged over eligible queries: 1 if all attention lies there.

    NaN for a sequence without eligible query.
    """
    return over_queries(mass_of_rows(pattern, entries), entries)


def mean_entry(
    pattern: Float[Tensor, "batch head dest src"], entries: Bool[Tensor, "batch dest src"]
) -> Float[Tensor, "batch head"]:
    """The mean over a query's entries, averaged over eligible queries; at most `highest_mean_entry`."""
    rows = mass_of_rows(pattern, entries) / entries.sum(-1).clamp_min(1)[:, None]
    return over_queries(rows, entries)


def highest_mean_entry(entries: Bool[Tensor, "batch dest src"]) -> float:
    """The `mean_entry` of a head with all its attention on the entries: the mean of 1 / (entries of the query).

    With 4 repeats of different tokens (1 + 1/2 + 1/3) / 3 = .61.
    """
    counts = entries.sum(-1)
    return float((1 / counts[counts > 0]).mean())


def shuffled_mass(
    pattern: Float[Tensor, "batch head dest src"], entries: Bool[Tensor, "batch dest src"]
) -> Float[Tensor, "batch head"]:
    """Expected `mass` when each row's weights are permuted over the dest + 1 keys it may see; exact, not sampled.

    A permutation puts the row's total on each key with equal chance: total * entries / (dest + 1).
    """
    return over_queries(_mean_weight(pattern) * entries.sum(-1)[:, None], entries)


def shuffled_mean_entry(
    pattern: Float[Tensor, "batch head dest src"], entries: Bool[Tensor, "batch dest src"]
) -> Float[Tensor, "batch head"]:
    """Expected `mean_entry` under the permutations of `shuffled_mass`: total / (dest + 1)."""
    return over_queries(_mean_weight(pattern), entries)


def value_weighted(
    pattern: Float[Tensor, "batch head dest src"], norms: Float[Tensor, "batch src head"]
) -> Float[Tensor, "batch head dest src"]:
    """A_ij ||v_j||, each row divided by its sum: which share of what a head moves comes from where.

    `norms` are those of v = x W_V + b_V, as in Elhage et al. 2021 (||v_j||), not of v W_O. A resting place such as
    BOS, whose value is small, vanishes. A row without any weight stays 0.
    """
    weighted = pattern * norms.transpose(1, 2)[:, :, None]
    return weighted / weighted.sum(-1, keepdim=True).clamp_min(torch.finfo(weighted.dtype).tiny)


def entropy_of_rows(pattern: Float[Tensor, "batch head dest src"]) -> Float[Tensor, "batch head dest"]:
    """-sum_j A_ij ln A_ij in nats; 0 for all attention in one place, ln(dest + 1) for even attention."""
    return torch.special.entr(pattern).sum(-1)


def mass_of_rows(
    pattern: Float[Tensor, "batch head dest src"], entries: Bool[Tensor, "batch dest src"]
) -> Float[Tensor, "batch head dest"]:
    """Attention on the entries of each query."""
    return einsum(pattern, entries.to(pattern), "batch head dest src, batch dest src -> batch head dest")


def over_queries(
    rows: Float[Tensor, "batch head dest"], entries: Bool[Tensor, "batch dest src"]
) -> Float[Tensor, "batch head"]:
    """The mean over eligible queries; NaN where there is none."""
    eligible = entries.any(-1).to(rows)
    return einsum(rows, eligible, "batch head dest, batch dest -> batch head") / eligible.sum(-1)[:, None]


def _mean_weight(pattern: Tensor) -> Tensor:
    """Each row's sum over the number of keys it may see: [batch head dest]."""
    return pattern.sum(-1) / torch.arange(1, pattern.shape[-2] + 1, device=pattern.device, dtype=pattern.dtype)
