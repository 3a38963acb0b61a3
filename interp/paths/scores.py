"""A head's attention scores as a sum over pairs of paths: one into its query, one into its key.

With the patterns of earlier layers and the scale before this one held (Elhage et al. 2021, the QK expansion of a
two-layer model, here for any depth), for query paths a and key paths b

    score[dest, src] = sum_a sum_b  q_a[dest] R(dest - src) k_b[src] / attn_scale

Only what differs between the keys of a query reaches the pattern: parts of the *contrast*, the score at the target
minus the mean over the other allowed keys, are what can be compared. Parts of raw scores are not: a key bias moves
them all and the pattern not at all.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
from einops import einsum
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from interp.errors import InputError
from interp.inputs import checked
from interp.names import Head, as_head, check
from interp.paths.frozen import FrozenRun, freeze
from interp.paths.path import Path
from interp.paths.streams import MEMORY, Extent, Stream, bias_source, entering, is_complete, parts_of, walk
from interp.stats import Estimate, bootstrap_interval
from interp.weights import TransformerWeights
from interp.weights.rotation import rotated

Kind = Literal["direct", "Q", "K", "both"]
KINDS: tuple[Kind, ...] = ("direct", "Q", "K", "both")
"""Which of query and key came through earlier heads: neither, the query (Q-composition), the key (K), or both."""
HELD = 6
"""Vectors of d_head numbers that are held of every path: what it carries, queries and keys, and copies on the way."""
Key = TypeVar("Key", bound=Hashable)


def kind_of(query: Path, key: Path) -> Kind:
    """How a pair of paths composes."""
    if query.heads:
        return "both" if key.heads else "Q"
    return "K" if key.heads else "direct"


@dataclass(frozen=True, eq=False)
class ScorePaths:
    """The scores of one head, factored: `part(a, b)` is one term, `total()` their sum.

    The factors hold everything: 1 / attn_scale is in the queries, both are rotated where positions are rotary, and
    keys are smeared where keys are. Shortformer positions are the "position" source of both sides; b_Q and b_K are in
    the "bias" source.
    """

    head: Head
    query_paths: tuple[Path, ...]
    key_paths: tuple[Path, ...]
    queries: Float[Tensor, "query batch pos d_head"]
    keys: Float[Tensor, "key batch pos d_head"]
    scores: Float[Tensor, "batch dest src"]
    """The model's own, -inf where masked."""
    complete: bool
    """Whether every path was followed to its end."""

    def __repr__(self) -> str:
        paths = f"{len(self.query_paths)} query x {len(self.key_paths)} key paths"
        return f"ScorePaths({self.head}, {paths}, scores {list(self.scores.shape)}, error {self.error:.1e})"

    def part(self, query: Path, key: Path) -> Float[Tensor, "batch dest src"]:
        """What one pair of paths adds to the scores (masked entries included); `InputError` if it is not there."""
        q = self.queries[place(query, self.query_paths, "query")]
        k = self.keys[place(key, self.key_paths, "key")]
        return q @ k.mT

    def total(self) -> Float[Tensor, "batch dest src"]:
        """The sum of all parts."""
        return self.queries.sum(0) @ self.keys.sum(0).mT

    @property
    def error(self) -> float:
        """Largest |sum of the parts - score| over allowed entries, as a share of the largest absolute score."""
        allowed = self.scores.isfinite()
        largest = self.scores[allowed].abs().max().clamp_min(torch.finfo(self.scores.dtype).tiny)
        return float((self.total() - self.scores)[allowed].abs().max() / largest)

    def contrast(self, targets: Bool[Tensor, "batch dest src"]) -> "Contrast":
        """Each pair's part in the contrast: mean score at a query's targets minus the mean over its other keys.

        Averaged over the queries that have a target and another allowed key (not masked), then kept by sequence.
        Raises `InputError` for masks of another shape, if fewer than two sequences have such a query, and for so many
        pairs of paths that they do not fit `MEMORY` bytes.
        """
        if targets.shape != self.scores.shape:
            raise InputError(f"targets must be [batch dest src] {list(self.scores.shape)}, got {list(targets.shape)}")
        size = len(self.queries) * len(self.keys) * len(targets) * self.keys.element_size()
        if size > MEMORY:
            raise InputError(
                f"the parts of {len(self.queries)} x {len(self.keys)} pairs of paths take {size / 1e9:.3g} GB, more "
                f"than {MEMORY / 1e9:.3g} GB: bound the paths with order= or most=, or pass fewer sequences"
            )
        allowed = self.scores.isfinite()
        targets = targets.to(self.scores.device) & allowed
        others = allowed & ~targets
        eligible = targets.any(-1) & others.any(-1)
        if int(eligible.any(1).sum()) < 2:
            raise InputError("a contrast needs queries with a target and another allowed key in at least two sequences")
        weight = share(targets) - share(others)  # batch dest src
        rows = share(eligible)  # batch dest
        picked = einsum(weight.to(self.keys), self.keys, "batch dest src, key batch src d -> key batch dest d")
        parts = einsum(
            self.queries * rows.to(self.queries)[..., None],
            picked,
            "query batch dest d, key batch dest d -> query key batch",
        )
        seen = (self.scores.masked_fill(~self.scores.isfinite(), 0.0) * weight).sum(-1)
        kept = eligible.any(1)
        return Contrast(self.head, self.query_paths, self.key_paths, parts[:, :, kept], (seen * rows).sum(1)[kept])


@dataclass(frozen=True, eq=False)
class Contrast:
    """Parts of a contrast by pair of paths and sequence, in score units (nats before the softmax); they add up."""

    head: Head
    query_paths: tuple[Path, ...]
    key_paths: tuple[Path, ...]
    parts: Float[Tensor, "query key batch"]
    seen: Float[Tensor, " batch"]
    """The contrast of the model's own scores."""

    def __repr__(self) -> str:
        pairs = self.parts.shape[0] * self.parts.shape[1]
        return f"Contrast({self.head}, {pairs} pairs of paths, {len(self.seen)} sequences)"

    def grouped(self, key: Callable[[Path, Path], Key]) -> dict[Key, Float[Tensor, " batch"]]:
        """Parts summed over the pairs that share a key, such as `kind_of`."""
        found: dict[Key, list[tuple[int, int]]] = {}
        for i, query in enumerate(self.query_paths):
            for j, other in enumerate(self.key_paths):
                found.setdefault(key(query, other), []).append((i, j))
        return {name: self.parts[[i for i, _ in pairs], [j for _, j in pairs]].sum(0) for name, pairs in found.items()}

    def by_kind(self) -> dict[Kind, Float[Tensor, " batch"]]:
        """Parts of direct paths, Q-, K- and both-composition; 0 for a kind without any pair."""
        found = self.grouped(kind_of)
        return {kind: found.get(kind, torch.zeros_like(self.seen)) for kind in KINDS}

    def by_chains(self) -> dict[tuple[tuple[Head, ...], tuple[Head, ...]], Float[Tensor, " batch"]]:
        """Parts by (heads into the query, heads into the key), summed over sources."""
        return self.grouped(lambda query, key: (query.heads, key.heads))

    def estimates(
        self, groups: dict[Any, Float[Tensor, " batch"]], generator: torch.Generator, level: float = 0.95
    ) -> dict[Any, Estimate]:
        """Means over sequences with bootstrap intervals."""
        return {name: bootstrap_interval(values, generator, level) for name, values in groups.items()}

    @property
    def error(self) -> float:
        """Largest |sum of the parts - contrast of the model's scores| over sequences, in score units."""
        return float((self.parts.sum((0, 1)) - self.seen).abs().max())


def shares(parts: dict[Key, float]) -> dict[Key, float] | None:
    """Each part over their sum, where all have one sign (zeros aside); None where they have not: no share then means
    anything."""
    signs = {value > 0 for value in parts.values() if value != 0}
    total = sum(parts.values())
    return {name: value / total for name, value in parts.items()} if len(signs) == 1 else None


@checked
def score_paths(
    model: nn.Module,
    tokens: Int[Tensor, "batch pos"],
    head: tuple[int, int] | str,
    *,
    order: int | None = None,
    most: int | None = None,
    split: bool = True,
    memory: int = MEMORY,
) -> ScorePaths:
    """Run the model once and take a head's scores apart: `score_paths_of` its frozen run."""
    return score_paths_of(freeze(model, tokens, scores=True), head, order=order, most=most, split=split, memory=memory)


@torch.no_grad()
def score_paths_of(
    run: FrozenRun,
    head: tuple[int, int] | str,
    *,
    order: int | None = None,
    most: int | None = None,
    split: bool = True,
    memory: int = MEMORY,
) -> ScorePaths:
    """Query and key of a head by path, so that all pairs add up to its attention scores.

    `run` must be frozen with `scores=True`. `order`, `most`, `split` and `memory` are those of `logit_paths_of`; with
    chains left out, `error` says how much is missing. A head of the first layer has direct paths only.
    Raises `InputError` for a head that is not there, a run without scores, and chains that do not fit the memory.
    """
    head = check(as_head(head), run.n_layers, run.n_heads)
    if not run.scores:
        raise InputError("this run was frozen without attention scores: freeze(model, tokens, scores=True)")
    extent = Extent(order, most, split)
    parts_of(run, extent, head.layer, memory, results=HELD)
    streams = list(walk(run, extent, head.layer))
    query_paths, queries = side(run, head, "Q", streams, extent)
    key_paths, keys = side(run, head, "K", streams, extent)
    return ScorePaths(
        head,
        query_paths,
        key_paths,
        queries / run.weights.attn_scale,
        keys,
        run.scores[head.layer][:, head.index],
        is_complete(run, extent, head.layer),
    )


def side(
    run: FrozenRun, head: Head, letter: Literal["Q", "K"], streams: list[Stream], extent: Extent
) -> tuple[tuple[Path, ...], Float[Tensor, "path batch pos d_head"]]:
    """What each path puts into the head's queries (or keys), smeared and rotated as the model does."""
    w, scale = run.weights, run.scales[head.layer][..., None]
    W, b = (w.W_Q[head], w.b_Q[head]) if letter == "Q" else (w.W_K[head], w.b_K[head])
    found = {Path(source): (x / scale) @ W for source, x in entering(run, head.layer, b, extent.split).items()}
    if w.W_pos_attn is not None:
        at, added = Path("position" if extent.split else "all"), w.W_pos_attn[head.layer, : run.tokens.shape[1]] @ W
        found[at] = found.get(at, 0) + added.expand(len(run.tokens), -1, -1)
    if bool(b.any()):
        found[Path(bias_source(extent.split))] += b
    for stream in streams:
        z = einsum(stream.z / scale[..., None], w.W_O[stream.head] @ W, "batch pos path d, d e -> path batch pos e")
        found |= dict(zip(stream.paths, z, strict=True))
    stacked = torch.stack(list(found.values()))
    return tuple(found), finished(w, head, letter, stacked)


def finished(
    w: TransformerWeights, head: Head, letter: str, x: Float[Tensor, "path batch pos d_head"]
) -> Float[Tensor, "path batch pos d_head"]:
    """Keys smeared, then queries or keys rotated: both act on each path by itself."""
    if letter == "K" and w.smear is not None:
        before = torch.cat([x[:, :, :1], x[:, :, :-1]], dim=2)
        x = w.smear[head] * x + (1 - w.smear[head]) * before
    return rotated(w, x)


def share(mask: Bool[Tensor, "*rest n"]) -> Float[Tensor, "*rest n"]:
    """1 / (how many are true) where true, 0 elsewhere; all 0 where none is."""
    return mask.double() / mask.sum(-1, keepdim=True).clamp_min(1)


def place(path: Path, paths: tuple[Path, ...], what: str) -> int:
    if path not in paths:
        raise InputError(f"there is no {what} path {path}; there are {', '.join(map(str, paths[:4]))} ...")
    return paths.index(path)
