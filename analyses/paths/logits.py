"""The strongest paths of the right token's logit, beside what they add to the token of another sequence."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from analyses.paths.sample import Sample, estimated
from interp.names import Head
from interp.paths import FrozenRun, LogitPaths, Path, logit_paths_of
from interp.paths.logits import Progress
from interp.stats import Estimate, Estimates

MOST_PATHS = 1000
"""Paths with an interval, the strongest; the sums are over all."""
LARGEST = 2**29
"""Bytes that the parts of all paths may take."""


@dataclass(frozen=True, eq=False)
class LogitParts:
    """Each path's mean part in the logit of the token that comes, relative to the vocabulary's mean; nats."""

    head: Head | None
    """Only paths through this head; None for all."""
    paths: tuple[Path, ...]
    """The strongest first."""
    parts: Estimates
    """[path]"""
    elsewhere: Estimates | None
    """The same for the tokens of another sequence, [path]; None for a single sequence."""
    n_paths: int
    total: Estimate
    """Sum of all paths (of those through the head)."""
    total_elsewhere: Estimate | None
    remainder: float
    """The model's relative logit minus the sum of all its paths: rounding, unless paths were left out."""
    logit: Estimate
    """The model's own."""
    error: float
    """Largest remainder of any logit, as a share of the largest logit."""
    complete: bool

    def to_dict(self) -> dict[str, Any]:
        elsewhere = self.elsewhere
        rows = [
            {
                "path": str(path),
                "source": path.source,
                "heads": list(path.heads),
                **self.parts[index].to_dict(),
                "to_another_sequences_token": None if elsewhere is None else elsewhere[index].to_dict(),
            }
            for index, path in enumerate(self.paths)
        ]
        return {
            "through": self.head,
            "n_paths": self.n_paths,
            "paths": rows,
            "sum": self.total.to_dict(),
            "sum_to_another_sequences_token": None if self.total_elsewhere is None else self.total_elsewhere.to_dict(),
            "logit": self.logit.to_dict(),
            "remainder": self.remainder,
            "error": self.error,
            "complete": self.complete,
        }


def logit_parts(
    run: FrozenRun,
    sample: Sample,
    generator: torch.Generator,
    head: Head | None = None,
    order: int | None = None,
    progress: Progress = iter,
) -> LogitParts:
    """The logit of the token that comes, by path, averaged over the scored tokens of each sequence.

    `order` bounds the heads in a chain; `remainder` then says what is missing. `progress` wraps the parts of the
    batch, as tqdm does. Raises `InputError` for more paths than fit the memory.
    """
    scored = sample.scored[:, 1:].any(0).nonzero()[:, 0] + 1
    mask, at = sample.scored[:, scored], (scored - 1).tolist()

    def read(tokens: Int[Tensor, "batch pos"]) -> LogitPaths:
        return logit_paths_of(run, tokens[:, scored], at, order=order, memory=LARGEST, progress=progress)

    right = read(run.tokens)
    kept = [i for i, path in enumerate(right.paths) if head is None or head in path.heads]
    values = by_sequence(right.relative[kept], mask)
    strongest = values.mean(1).abs().sort(descending=True, stable=True).indices[:MOST_PATHS]
    others = None if sample.single else by_sequence(read(run.tokens.roll(1, dims=0)).relative[kept], mask)
    remainder = by_sequence(right.relative_remainder[None], mask)
    logit = by_sequence(right.relative.sum(0, keepdim=True), mask) + remainder
    return LogitParts(
        head=head,
        paths=tuple(right.paths[kept[i]] for i in strongest.tolist()),
        parts=estimated(values[strongest].T, generator),
        elsewhere=None if others is None else estimated(others[strongest].T, generator),
        n_paths=len(kept),
        total=estimated(values.sum(0), generator)[()],
        total_elsewhere=None if others is None else estimated(others.sum(0), generator)[()],
        remainder=float(remainder.mean()),
        logit=estimated(logit[0], generator)[()],
        error=right.error,
        complete=right.complete,
    )


def by_sequence(
    values: Float[Tensor, "path batch pos"], mask: Bool[Tensor, "batch pos"]
) -> Float[Tensor, "path batch"]:
    """The mean over each sequence's scored predictions."""
    return (values * mask).sum(2) / mask.sum(1)
