"""What carries a head's attention score: its contrast, split by the earlier heads that query and key came through.

The contrast is the mean score at a query's targets minus the mean over its other allowed keys: all that a softmax can
see of where it looks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from analyses.arguments import Aim
from analyses.paths.sample import Sample, estimated
from interp.causality import require_causal
from interp.errors import InputError
from interp.heads.matching import copy_entries, first_entries, offset_entries
from interp.heads.stimuli import fresh_control
from interp.names import Head
from interp.paths import Contrast, FrozenRun, Path, freeze, score_paths_of, shares
from interp.paths.contrast_null import random_targets_deviation
from interp.paths.scores import KINDS, Kind
from interp.stats import Estimate

Chain = tuple[Head, ...]
Chains = tuple[Chain, Chain]
"""Heads into the query, heads into the key."""
Terms = tuple[Path, Path]
Side = Literal["Q", "K"]
Key = TypeVar("Key")
Entries = Callable[[Int[Tensor, "batch pos"]], Bool[Tensor, "batch dest src"]]

TARGETS: dict[Aim, tuple[str, Entries]] = {
    "induction": ("what followed earlier copies of the present token", lambda tokens: copy_entries(tokens, 1)),
    "duplicate": ("earlier copies of the present token", copy_entries),
    "previous": ("the position before", lambda tokens: offset_entries(tokens, 1)),
    "first": ("the first position", first_entries),
}
FOLLOW_TOKENS: tuple[Aim, ...] = ("induction", "duplicate")
"""Targets that fresh tokens have not: only their contrast should then be gone."""
MOST_TERMS = 100
ROUNDING = 1e-5


@dataclass(frozen=True)
class Parts(Generic[Key]):
    """Parts of a contrast in score units, the largest first, and what each is on fresh tokens."""

    estimates: Mapping[Key, Estimate]
    null: Mapping[Key, float] | None
    n: int
    """How many there are, with those that were left out."""

    def to_dict(self, name: Callable[[Key], Any], most: int | None = None) -> list[dict[str, Any]]:
        null = self.null
        return [
            {**name(key), **each.to_dict(), "null": None if null is None else null.get(key, 0.0)}
            for key, each in list(self.estimates.items())[:most]
        ]


@dataclass(frozen=True, eq=False)
class ScoreParts:
    """The contrast of one head, and its parts by kind, by chains of heads, and by path."""

    head: Head
    aim: Aim
    contrast: Estimate
    null: float | None
    """The contrast on fresh tokens."""
    null_text: str
    deviation: float
    """Standard deviation of the contrast at keys picked at random, whose mean is 0."""
    kinds: Parts[Kind]
    chains: Parts[Chains]
    carried: Parts[tuple[Head, Side]]
    """By the earlier head that query (Q) or key (K) came through last; terms with both count in both."""
    terms: Parts[Terms]
    """The largest, sources apart."""
    missing: float
    """The contrast minus all parts, in score units: rounding, unless paths were left out."""
    error: float
    """Largest |sum of the parts - score|, as a share of the largest score."""
    complete: bool

    @property
    def shares(self) -> dict[Kind, float] | None:
        """Of the contrast by kind, where all parts have one sign (what is 0 but for rounding aside); else None."""
        means = {kind: each.mean for kind, each in self.kinds.estimates.items()}
        least = ROUNDING * max(map(abs, means.values()))
        return shares({kind: mean if abs(mean) > least else 0.0 for kind, mean in means.items()})

    def to_dict(self, most_terms: int = MOST_TERMS) -> dict[str, Any]:
        return {
            "head": self.head,
            "target": self.aim,
            "contrast": self.contrast.to_dict(),
            "null": self.null,
            "null_text": self.null_text,
            "random_keys_deviation": self.deviation,
            "kinds": self.kinds.to_dict(lambda kind: {"kind": kind}),
            "shares": self.shares,
            "chains": self.chains.to_dict(lambda pair: {"query": list(pair[0]), "key": list(pair[1])}),
            "carried": self.carried.to_dict(lambda edge: {"earlier": edge[0], "side": edge[1]}),
            "terms": self.terms.to_dict(lambda pair: {"query": str(pair[0]), "key": str(pair[1])}, most_terms),
            "missing": self.missing,
            "error": self.error,
            "complete": self.complete,
        }


@dataclass(frozen=True, eq=False)
class ScoreRuns:
    """The frozen runs that scores are read on: of the sample, and of the same without its repetition."""

    sample: Sample
    frozen: FrozenRun
    fresh: FrozenRun | None
    fresh_entries: Callable[[Bool[Tensor, "batch dest src"]], Bool[Tensor, "row dest src"]] | None
    fresh_text: str


def score_runs(model: nn.Module, sample: Sample, generator: torch.Generator) -> ScoreRuns:
    """Two runs of the model; a sequence that was given has no counterpart without its repetition.

    Of a single sequence there are two copies: a contrast is kept by sequence and wants two.
    """
    require_causal(model, "the contrast of what follows earlier copies")
    tokens = sample.tokens.expand(2, -1) if sample.single else sample.tokens
    frozen = freeze(model, tokens, scores=True)
    if sample.protocol is None:
        return ScoreRuns(sample, frozen, None, None, "")
    control = fresh_control(sample.tokens.cpu(), sample.protocol, generator)
    fresh = freeze(model, control.tokens.to(sample.tokens.device), scores=True)
    return ScoreRuns(sample, frozen, fresh, control.entries, control.text)


def score_parts(
    runs: ScoreRuns, head: Head, generator: torch.Generator, aim: Aim = "induction", order: int | None = None
) -> ScoreParts:
    """The contrast of a head at its targets, part by part, with intervals over sequences.

    The null of targets that follow tokens: the same (query, key) pairs on the same sequences without the repetition.
    `order` bounds the heads in a chain. Raises `InputError` where no query has a target and another key.
    """
    entries = TARGETS[aim][1](runs.frozen.tokens.cpu())
    others = torch.ones_like(entries).tril() & ~entries
    if not bool((entries.any(-1) & others.any(-1)).any(1).all()):
        raise InputError(
            f"{runs.sample.text}: no query has a target ({TARGETS[aim][0]}) and another key to compare it with; choose "
            "another --target, or other tokens"
        )
    paths = score_paths_of(runs.frozen, head, order=order)
    seen, null, text = paths.contrast(entries), None, ""
    if aim in FOLLOW_TOKENS and runs.fresh is not None and runs.fresh_entries is not None:
        null = score_paths_of(runs.fresh, head, order=order).contrast(runs.fresh_entries(entries))
        text = runs.fresh_text
    n = len(runs.sample.tokens)

    def parts(groups: Callable[[Contrast], dict[Key, Tensor]], most: int | None = None) -> Parts[Key]:
        return strongest(groups(seen), None if null is None else groups(null), n, generator, most)

    return ScoreParts(
        head=head,
        aim=aim,
        contrast=estimated(seen.seen[:n], generator)[()],
        null=None if null is None else float(null.seen.mean()),
        null_text=text,
        deviation=random_targets_deviation(paths.scores.cpu()[:n], entries[:n]),
        kinds=in_order(parts(lambda contrast: contrast.by_kind())),
        chains=parts(lambda contrast: contrast.by_chains()),
        carried=parts(by_last_head),
        terms=parts(lambda contrast: contrast.grouped(lambda query, key: (query, key)), MOST_TERMS),
        missing=float((seen.seen - seen.parts.sum((0, 1)))[:n].mean()),
        error=paths.error,
        complete=paths.complete,
    )


def strongest(
    groups: Mapping[Key, Tensor],
    null: Mapping[Key, Tensor] | None,
    n: int,
    generator: torch.Generator,
    most: int | None = None,
) -> Parts[Key]:
    """The largest means of the first n samples, all at once and with the same resamples."""
    keys = sorted(groups, key=lambda key: -abs(float(groups[key][:n].mean())))[:most]
    if not keys:
        return Parts({}, None if null is None else {}, 0)
    found = estimated(torch.stack([groups[key][:n] for key in keys], dim=1), generator)
    means = None if null is None else {key: float(null[key].mean()) for key in keys if key in null}
    return Parts({key: found[index] for index, key in enumerate(keys)}, means, len(groups))


def in_order(parts: Parts[Kind]) -> Parts[Kind]:
    """Direct first, then Q, K and both."""
    return Parts({kind: parts.estimates[kind] for kind in KINDS}, parts.null, parts.n)


def by_last_head(contrast: Contrast) -> dict[tuple[Head, Side], Tensor]:
    """What the contrast would lose if the head no longer wrote into this head's query (or key), all else held."""
    found: dict[tuple[Head, Side], Tensor] = {}
    for (query, key), values in contrast.by_chains().items():
        for side, chain in (("Q", query), ("K", key)):
            if chain:
                edge: tuple[Head, Side] = (chain[-1], side)  # type: ignore[assignment]
                found[edge] = found.get(edge, torch.zeros_like(values)) + values
    return found
