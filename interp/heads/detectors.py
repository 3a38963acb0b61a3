"""What heads may do, each as a pure function of patterns and tokens: `PREFIX_MATCHING(pattern, tokens)`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from interp.finite import require_finite
from interp.heads.at_once import parts
from interp.heads.matching import (
    copy_entries,
    entropy_of_rows,
    first_entries,
    mass,
    mean_entry,
    offset_entries,
    shuffled_mass,
    shuffled_mean_entry,
    value_weighted,
)
from interp.hooks import record
from interp.names import pattern_name, v_name

MAX_ENTRIES = 2**24
"""Entries of one layer's pattern that are looked at in one forward pass."""


@dataclass(frozen=True)
class Detector:
    """A mask of entries and a reduction; called with (pattern, tokens) it gives each sequence's score of each head.

    `weighted` detectors are for patterns that went through `value_weighted`. `follows_tokens` says that the entries
    depend on which tokens are equal, so that fresh tokens make a null.
    """

    name: str
    description: str
    entries: Callable[[Int[Tensor, "batch pos"]], Bool[Tensor, "batch dest src"]]
    reduction: Literal["mass", "mean entry"] = "mass"
    weighted: bool = False
    follows_tokens: bool = True

    def __call__(
        self, pattern: Float[Tensor, "batch head dest src"], tokens: Int[Tensor, "batch pos"]
    ) -> Float[Tensor, "batch head"]:
        return self.on_entries(pattern, self.entries(tokens))

    def on_entries(
        self, pattern: Float[Tensor, "batch head dest src"], entries: Bool[Tensor, "batch dest src"]
    ) -> Float[Tensor, "batch head"]:
        """The score read at given entries, for example those of other tokens."""
        return (mass if self.reduction == "mass" else mean_entry)(pattern, entries)

    def shuffled(
        self, pattern: Float[Tensor, "batch head dest src"], entries: Bool[Tensor, "batch dest src"]
    ) -> Float[Tensor, "batch head"]:
        """The score's expectation when each row's weights are permuted over the keys it may see."""
        return (shuffled_mass if self.reduction == "mass" else shuffled_mean_entry)(pattern, entries)


PREVIOUS_TOKEN = Detector(
    "previous_token",
    "attention on the token before the query (A[i, i-1], i >= 1)",
    lambda tokens: offset_entries(tokens, 1),
    follows_tokens=False,
)
CURRENT_TOKEN = Detector(
    "current_token",
    "attention on the query itself (A[i, i], i >= 1)",
    lambda tokens: offset_entries(tokens, 0),
    follows_tokens=False,
)
FIRST_TOKEN = Detector(
    "first_token",
    "attention on position 0, BOS where there is one (A[i, 0], i >= 1)",
    first_entries,
    follows_tokens=False,
)
DUPLICATE_TOKEN = Detector(
    "duplicate_token",
    "attention on earlier copies of the query's token, summed, per query that has one",
    lambda tokens: copy_entries(tokens, 0),
)
PREFIX_MATCHING = Detector(
    "prefix_matching",
    "attention on the tokens that follow earlier copies of the query's token, summed, per query that has one",
    lambda tokens: copy_entries(tokens, 1),
)
PREFIX_MATCHING_MEAN_ENTRY = Detector(
    "prefix_matching_mean_entry",
    "as prefix_matching, but the mean over the tokens that follow copies, instead of the sum",
    lambda tokens: copy_entries(tokens, 1),
    reduction="mean entry",
)
BEFORE_COPY = Detector(
    "before_copy",
    "attention on the tokens before earlier copies of the query's token (the literal reading of Olsson et al.'s text)",
    lambda tokens: copy_entries(tokens, -1),
)
VALUE_WEIGHTED_PREFIX_MATCHING = Detector(
    "value_weighted_prefix_matching",
    "prefix_matching of A_ij ||v_j||, each row divided by its sum: the share of what is moved, without resting places",
    lambda tokens: copy_entries(tokens, 1),
    weighted=True,
)
DETECTORS: dict[str, Detector] = {
    detector.name: detector
    for detector in (
        PREVIOUS_TOKEN,
        CURRENT_TOKEN,
        FIRST_TOKEN,
        DUPLICATE_TOKEN,
        PREFIX_MATCHING,
        PREFIX_MATCHING_MEAN_ENTRY,
        BEFORE_COPY,
        VALUE_WEIGHTED_PREFIX_MATCHING,
    )
}


def attention_entropy(pattern: Float[Tensor, "batch head dest src"]) -> Float[Tensor, "batch head"]:
    """-sum_j A_ij ln A_ij in nats, averaged over i >= 1; of even attention: the mean of ln(i + 1)."""
    return entropy_of_rows(pattern)[..., 1:].mean(-1)


@dataclass(frozen=True, eq=False)
class Readings:
    """What one detector, or the entropy, reads on a set of sequences."""

    score: Float[Tensor, "n layer head"]
    shuffled: Float[Tensor, "n layer head"]
    """For the entropy: that of even attention."""


def read_patterns(
    model: nn.Module,
    tokens: Int[Tensor, "batch pos"],
    entries: Mapping[str, Bool[Tensor, "batch dest src"]],
    n_layers: int,
    n_heads: int,
) -> dict[str, Readings]:
    """The named detectors (of `DETECTORS`) read at the given entries, and "entropy", for all layers and heads.

    Patterns are reduced as they pass: of no layer's, and of the logits, is more than one chunk of sequences ever kept.
    """
    size = max(1, MAX_ENTRIES // (n_heads * tokens.shape[1] ** 2))
    chunks = []
    for part in parts(model, tokens, size):
        chunks.append(_read_chunk(model, tokens[part], {name: mask[part] for name, mask in entries.items()}, n_layers))
    values = torch.cat(chunks, dim=2)  # reading, score or shuffled, batch, layer, head
    return {name: Readings(*values[row]) for row, name in enumerate([*entries, "entropy"])}


def _read_chunk(model: nn.Module, tokens: Tensor, entries: dict[str, Tensor], n_layers: int) -> Tensor:
    norms: dict[int, Tensor] = {}
    weighted = any(DETECTORS[name].weighted for name in entries)

    def keep_norms(layer: int) -> Callable[[Tensor], Tensor]:
        def reduce(v: Tensor) -> Tensor:
            norms[layer] = v.norm(dim=-1)
            require_finite(f"{v_name(layer)} (its norms)", norms[layer])
            return v[:0]

        return reduce

    def read(layer: int) -> Callable[[Tensor], Tensor]:
        def reduce(pattern: Tensor) -> Tensor:
            require_finite(pattern_name(layer), pattern)
            by_value = value_weighted(pattern, of_each_head(norms.pop(layer), pattern)) if weighted else pattern
            rows = []
            for name, mask in entries.items():
                detector = DETECTORS[name]
                seen = by_value if detector.weighted else pattern
                rows.append(torch.stack([detector.on_entries(seen, mask), detector.shuffled(seen, mask)]))
            rows.append(torch.stack([attention_entropy(pattern), _even_entropy(pattern)]))
            return torch.stack(rows)

        return reduce

    layers = range(n_layers)
    reductions = {pattern_name(layer): read(layer) for layer in layers}
    if weighted:
        reductions |= {v_name(layer): keep_norms(layer) for layer in layers}
    found = record(model, tokens, names=list(reductions), reduce=reductions)
    return torch.stack([found[pattern_name(layer)] for layer in layers], dim=3).cpu()


def of_each_head(norms: Tensor, pattern: Tensor) -> Float[Tensor, "batch src head"]:
    """Norms of values for every head: where keys and values are grouped, consecutive heads share them."""
    return norms.repeat_interleave(pattern.shape[1] // norms.shape[2], dim=2)


def _even_entropy(pattern: Tensor) -> Tensor:
    batch, heads, length, _ = pattern.shape
    even = torch.arange(2, length + 1, device=pattern.device, dtype=pattern.dtype).log().mean()
    return even.expand(batch, heads)
