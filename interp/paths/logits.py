"""The logits as a sum over all paths: direct, through one head, and through virtual heads of every order.

With attention patterns and normalisation scales held at the values they had (Elhage et al. 2021, "A Mathematical
Framework for Transformer Circuits"), for sources x (token, position, biases, MLP outputs) and chains of heads in
ascending layers,

    logit[t] = sum_x sum_chains  (A_k ... A_1 x W_V^1 W_O^1 ... W_V^k W_O^k) W_U[:, t]       (+ biases)

each read divided by its scale. Patterns are themselves made of paths: see `interp.paths.scores`.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from interp.causality import require_causal
from interp.errors import InputError
from interp.inputs import checked
from interp.lens.predictions import scored_predictions
from interp.paths.frozen import FrozenRun, freeze
from interp.paths.path import Path
from interp.paths.streams import MEMORY, Extent, bias_source, entering, is_complete, parts_of, path_counts, walk
from interp.stats import Estimates, bootstrap_intervals

Key = TypeVar("Key", bound=Hashable)
Progress = Callable[[Sequence[slice]], Iterable[slice]]
"""Wraps the parts of the batch as they are worked on, as tqdm does."""


@dataclass(frozen=True, eq=False)
class LogitPaths:
    """What every path adds to the logit of the target tokens at each position."""

    paths: tuple[Path, ...]
    targets: Int[Tensor, "batch pos"]
    positions: tuple[int, ...]
    """Where the logits stand."""
    logit: Float[Tensor, "path batch pos"]
    """Part of the target's logit, nats."""
    relative: Float[Tensor, "path batch pos"]
    """Part of the target's logit minus the mean logit of the vocabulary: what the softmax can see."""
    remainder: Float[Tensor, "batch pos"]
    """The model's logit minus the sum of the parts: rounding if `complete`, else also what was pruned."""
    relative_remainder: Float[Tensor, "batch pos"]
    complete: bool
    """Whether every path was followed to its end."""
    largest_logit: float
    """The model's largest absolute logit: `remainder` is to be compared with it."""

    def __repr__(self) -> str:
        return f"LogitPaths({len(self.paths)} paths, targets {list(self.targets.shape)}, error {self.error:.1e})"

    @property
    def error(self) -> float:
        """Largest absolute remainder as a share of the largest absolute logit."""
        return float(self.remainder.abs().max()) / max(self.largest_logit, torch.finfo(self.logit.dtype).tiny)

    def __getitem__(self, path: Path) -> Float[Tensor, "batch pos"]:
        """`relative` of one path; `InputError` if it is not among them."""
        if path not in self.paths:
            raise InputError(f"there is no path {path}; there are {', '.join(map(str, self.paths[:3]))} ...")
        return self.relative[self.paths.index(path)]

    def grouped(self, key: Callable[[Path], Key]) -> dict[Key, Float[Tensor, "batch pos"]]:
        """`relative` summed over the paths that share a key: `lambda path: path.order`, `lambda path: path.heads`."""
        found: dict[Key, list[int]] = {}
        for i, path in enumerate(self.paths):
            found.setdefault(key(path), []).append(i)
        return {each: self.relative[index].sum(0) for each, index in found.items()}

    def mean(
        self,
        generator: torch.Generator,
        scored: Bool[Tensor, "batch position"] | None = None,
        key: Callable[[Path], Key] | None = None,
        level: float = 0.95,
    ) -> dict[Path | Key, Any]:
        """`relative` averaged over (scored) positions and sequences, with bootstrap intervals over sequences.

        For each path, or for each `key` of `grouped`: an `Estimate`. `scored` marks the tokens that count, as in
        `direct_logit_attribution`: [batch pos] of `targets`. Raises `InputError` unless two sequences have one.
        """
        groups: dict[Any, Tensor] = self.grouped(key if key is not None else lambda path: path)
        estimates = self._estimates(torch.stack(list(groups.values())), generator, scored, level)
        return {name: estimates[i] for i, name in enumerate(groups)}

    def _estimates(self, values: Tensor, generator: torch.Generator, scored: Tensor | None, level: float) -> Estimates:
        mask = torch.ones_like(self.targets, dtype=torch.bool) if scored is None else scored.to(self.targets.device)
        if mask.shape != self.targets.shape:
            raise InputError(f"scored must have the targets' shape {list(self.targets.shape)}, got {list(mask.shape)}")
        kept = mask.any(1)
        if int(kept.sum()) < 2:
            raise InputError("an interval needs at least 2 sequences with a scored position")
        weight = mask[kept].to(values) / mask[kept].sum(1, keepdim=True).to(values)
        return bootstrap_intervals((values[:, kept] * weight).sum(2).T, generator, level)


@checked
def logit_paths(
    model: nn.Module,
    tokens: Int[Tensor, "batch pos"],
    targets: Int[Tensor, "sample reading"] | None = None,
    positions: Sequence[int] | None = None,
    *,
    order: int | None = None,
    most: int | None = None,
    split: bool = True,
    memory: int = MEMORY,
    progress: Progress = iter,
) -> LogitPaths:
    """Run the model once and take the logits of `targets` apart into paths: `logit_paths_of` its frozen run.

    `targets[b, i]` is read at position `positions[i]`. Without targets they are the tokens that come next; without
    positions, all that have a target, from 0 on.
    """
    run = freeze(model, tokens)
    return logit_paths_of(
        run, targets, positions, order=order, most=most, split=split, memory=memory, progress=progress
    )


@torch.no_grad()
def logit_paths_of(
    run: FrozenRun,
    targets: Int[Tensor, "sample reading"] | None = None,
    positions: Sequence[int] | None = None,
    *,
    order: int | None = None,
    most: int | None = None,
    split: bool = True,
    memory: int = MEMORY,
    progress: Progress = iter,
) -> LogitPaths:
    """Each path's part in the logits of `targets`; the parts add up to the model's logits (see `remainder`).

    `order` bounds the heads in a chain, `most` how many chains of each layer are extended by later heads (the
    largest); the remainder then says what is missing. With `split`, token, position, biases and MLPs are sources of
    their own, else one ("all"). Biases are accounted for: a chain's "bias" is what the b_V of its first head and the
    b_O before it send down the chain, the direct one holds b_O and b_U. `memory` bounds the bytes held at once;
    `progress` wraps the parts of the batch, as tqdm does.
    Raises `InputError` for targets or positions that are not there, and for chains that do not fit the memory.
    """
    at, targets = readings(run, targets, positions)
    extent = Extent(order, most, split)
    parts = parts_of(run, extent, None, memory)
    check_size(run, extent, targets, memory)
    found = [read_out(run.select(rows), targets[rows], at, extent) for rows in progress(parts)]
    paths = found[0][0]
    logit, mean = rearrange(torch.cat([each for _, each in found]), "batch pos two path -> two path batch pos")
    seen = run.logits[:, at]
    wanted = seen.gather(-1, targets[..., None])[..., 0]
    return LogitPaths(
        paths,
        targets,
        tuple(at),
        logit,
        logit - mean,
        wanted - logit.sum(0),
        wanted - seen.mean(-1) - (logit - mean).sum(0),
        is_complete(run, extent),
        float(run.logits.abs().max()),
    )


def readings(
    run: FrozenRun, targets: Int[Tensor, "sample reading"] | None, positions: Sequence[int] | None
) -> tuple[list[int], Int[Tensor, "sample reading"]]:
    """Positions and targets, checked; what was left out filled in."""
    length = run.tokens.shape[1]
    if targets is None:
        require_causal(run.weights, "taking the next token's logit apart (without targets=)")
        scored_predictions(run.tokens, None)
        at = checked_positions(range(length - 1) if positions is None else positions, length - 1, " with a next token")
        return at, run.tokens[:, [p + 1 for p in at]]
    given = range(targets.shape[1]) if positions is None and targets.ndim == 2 else positions or ()
    if targets.shape != (len(run.tokens), len(given)) or not targets.numel():
        raise InputError(
            f"targets must be [batch pos], one for each of {len(run.tokens)} sequences at each of {len(given)} "
            f"positions, got {list(targets.shape)}"
        )
    low, high, d_vocab = int(targets.min()), int(targets.max()), run.logits.shape[-1]
    if low < 0 or high >= d_vocab:
        raise InputError(f"target {low if low < 0 else high} is outside the vocabulary 0..{d_vocab - 1}")
    return checked_positions(given, length), targets.to(run.tokens.device)


def checked_positions(positions: Sequence[int], end: int, which: str = "") -> list[int]:
    """The positions as whole numbers; `InputError` unless there are some, all in 0..end - 1."""
    at = list(positions)
    if not at or not all(isinstance(p, int) and not isinstance(p, bool) and 0 <= p < end for p in at):
        raise InputError(f"positions{which} are whole numbers in 0..{end - 1}, got {at}")
    return at


def check_size(run: FrozenRun, extent: Extent, targets: Tensor, memory: int) -> None:
    """`InputError` if the result itself is too large."""
    direct = entering(run.select(slice(0, 1)), None, run.weights.b_U, extent.split)
    n = len(direct) + sum(new for new, _ in path_counts(run, extent))
    size = 2 * n * targets.numel() * run.logits.element_size()
    if size > memory:
        raise InputError(
            f"the parts of {n} paths at {targets.numel()} positions take {size / 1e9:.3g} GB, more than "
            f"{memory / 1e9:.3g} GB: read fewer positions, or bound the paths with order="
        )


def read_out(
    run: FrozenRun, targets: Int[Tensor, "batch reading"], at: list[int], extent: Extent
) -> tuple[tuple[Path, ...], Float[Tensor, "batch reading two path"]]:
    """Every path along the target's column of W_U, and along the columns' mean."""
    w, everywhere = run.weights, at == list(range(run.tokens.shape[1]))
    columns, mean = F.embedding(targets, w.W_U.T), w.W_U.mean(1)
    reads = einsum(columns, w.W_O, "batch reading m, layer head d m -> layer head batch reading d")
    entered = entering(run, None, w.b_U, extent.split)
    paths = [Path(source) for source in entered]
    sources = torch.stack(list(entered.values()), dim=2)[:, at]
    parts = [torch.stack([torch.linalg.vecdot(sources, columns[:, :, None]), sources @ mean], dim=2)]
    for stream in walk(run, extent):
        target = reads[stream.head]
        both = torch.stack([target, (w.W_O[stream.head] @ mean).expand_as(target)], dim=2)
        z = stream.z if everywhere else stream.z[:, at]
        parts.append(both @ z.mT)
        paths += stream.paths
    values = torch.cat(parts, dim=3).div_(run.final_scale[:, at, None, None])
    if bool(w.b_U.any()):
        bias = torch.stack([w.b_U[targets], w.b_U.mean().expand_as(targets)], dim=2)
        values[..., paths.index(Path(bias_source(extent.split)))] += bias
    return tuple(paths), values
