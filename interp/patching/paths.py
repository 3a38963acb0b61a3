"""Path patching: what one component tells another directly, everything else held at its base value.

The input of a receiver (the query, key or value of a head, an MLP, the logits) becomes

    x_base + (out_other - out_base)

with out what the sender writes to the residual stream in each of two runs: only the direct path sender -> receiver
changes, what lies between them stays (Wang et al. 2022, "Interpretability in the Wild", arXiv:2211.00593, where MLPs
in between are let go; Goldowsky-Dill et al. 2023, "Localizing Model Behavior with Path Patching", arXiv:2304.05969).
The receiver normalises its changed input anew, and what comes after it is recomputed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from interp.ablation.head_inputs import Change
from interp.edges.graph import POSITION, Edge, Graph, graph_of
from interp.errors import InputError
from interp.hooks import record
from interp.inputs import checked
from interp.patching.metrics import Metric
from interp.patching.patch_map import PatchMap, patch_map
from interp.patching.path_edits import check_receivers, receiver_edits, sender_points, written_by
from interp.patching.runs import BATCH_SIZE, Direction, Edits, Runs, two_runs
from interp.weights import TransformerWeights, weights_of

Cell = tuple[str, list[int]]
"""A receiver, and the senders (by their place in the graph) that are patched into it together."""


@dataclass(frozen=True, eq=False)
class PathMap:
    """`paths.table.effect.share[paths.table.index("L0H0", "L1H0.K")]`: of one path, with its interval."""

    table: PatchMap
    """[sender receiver], each path by itself; NaN where the sender does not write before the receiver reads."""
    together: PatchMap
    """[receiver], all senders of the table at once: with every sender, the same as patching the whole input."""

    def to_dict(self) -> dict[str, Any]:
        return {"table": self.table.to_dict(), "together": self.together.to_dict()}


@checked
def path_patches(
    model: nn.Module,
    clean: Int[Tensor, "batch pos"],
    corrupted: Int[Tensor, "corrupted_batch corrupted_pos"],
    metric: Metric,
    generator: torch.Generator,
    *,
    senders: Iterable[str] | None = None,
    receivers: Iterable[str] | None = None,
    direction: Direction = "denoising",
    control: bool = True,
    level: float = 0.95,
    batch_size: int = BATCH_SIZE,
) -> PathMap:
    """Every sender patched into every receiver, alone and together.

    senders, receivers: names as in `Graph.senders` and `Graph.receivers`, all by default; "position" is left out
        unless named, because positions are the same in both runs and carry nothing.
    control: also patch what the senders write on another sequence (a derangement of the batch), at twice the cost.
    direction, metric, level, batch_size: as in `interp.patching.activations.activation_patches`.

    Raises `InputError` for a model whose attention cannot be computed anew, for names that are not there and pairs
    without any path, and for tokens that cannot be.
    """
    w = weights_of(model, fold=False)
    graph = graph_of(w)
    rows = _known("sender", None if senders is None else _listed(senders), graph.senders)
    columns = _known("receiver", None if receivers is None else _listed(receivers), graph.receivers)
    exists = torch.tensor([[Edge(row, column) in graph.index for column in columns] for row in rows])
    if not bool(exists.any()):
        raise InputError(f"none of {', '.join(rows)} writes before one of {', '.join(columns)} reads")
    runs = two_runs(model, clean, corrupted, metric, generator, direction, batch_size)
    check_receivers(model, w, columns, runs.base)
    single = [(columns[c], [graph.senders.index(rows[r])]) for r, c in exists.nonzero().tolist()]
    all_of = {c: [s for receiver, (s,) in single if receiver == c] for c in columns}
    joint = [(receiver, senders_of_it) for receiver, senders_of_it in all_of.items() if senders_of_it]
    sources = [runs.other, *([runs.swapped] if control else [])]
    found = [_effects(runs, w, graph, source, single + joint).split([len(single), len(joint)], 1) for source in sources]

    def made(labels: dict[str, tuple[str, ...]], there: Tensor, part: int, what: str) -> PatchMap:
        effect, *null = [_placed(each[part], there) for each in found]
        text = f"{len(clean)} sequences; {what} patched, all else held, what comes after the receiver recomputed"
        return patch_map(
            labels, runs, effect, null[0] if null else None, generator, text=text, exists=there, level=level
        )

    return PathMap(
        made({"sender": rows, "receiver": columns}, exists, 0, "the direct path from one sender to one receiver"),
        made({"receiver": columns}, exists.any(0), 1, f"the direct paths from {', '.join(rows)} to one receiver"),
    )


def _effects(
    runs: Runs, w: TransformerWeights, graph: Graph, source: Int[Tensor, "batch pos"], cells: list[Cell]
) -> Float[Tensor, "batch cell"]:
    """Patched minus base, with senders from a run on `source`."""
    found, points = [], sender_points(graph)
    for rows in runs.blocks:
        here, there = (record(runs.model, tokens[rows], names=points) for tokens in (runs.base, source))
        deltas = torch.stack([written_by(w, each, there) - written_by(w, each, here) for each in graph.senders])
        patched = runs.measure(rows, len(cells), partial(_edits, runs.model, w, deltas, cells))
        found.append(patched - runs.base_values[rows, None])
    return torch.cat(found)


def _edits(
    model: nn.Module,
    w: TransformerWeights,
    deltas: Float[Tensor, "sender n pos d_model"],
    cells: list[Cell],
    part: range,
) -> Edits:
    """Edits of a batch that holds n sequences once for each cell of this part."""
    n = deltas.shape[1]
    changes: dict[str, list[Change]] = {}
    for place, cell in enumerate(part):
        receiver, senders = cells[cell]
        change = (slice(place * n, (place + 1) * n), partial(_sum, deltas, senders))
        changes.setdefault(receiver, []).append(change)
    return receiver_edits(model, w, changes)


def _sum(deltas: Tensor, senders: list[int]) -> Tensor:
    return deltas[senders].sum(0)


def _placed(values: Float[Tensor, "batch cell"], exists: Bool[Tensor, "*table"]) -> Float[Tensor, "batch *table"]:
    """Cells put where they belong in a table, with NaN elsewhere."""
    table = torch.full((len(values), *exists.shape), torch.nan, dtype=values.dtype)
    table[:, exists] = values
    return table


def _listed(names: Iterable[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _known(what: str, asked: list[str] | None, known: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(name for name in known if name != POSITION) if asked is None else tuple(asked)
    for name in names:
        if name not in known:
            raise InputError(f"no {what} is called {name!r}; there are {', '.join(known)}")
    if not names or len(set(names)) < len(names):
        raise InputError(f"name one or more {what}s, each once, got {', '.join(names) or 'none'}")
    return names
