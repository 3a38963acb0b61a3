"""What every chain of heads carries, layer by layer, with patterns and scales held: the engine of path expansion.

A chain that ends in head h writes z W_O of h, with z in the head's own space [batch pos d_head]. The next head g reads

    z' = A_g (z W_O^h W_V^g / s),    W_O^h W_V^g  [d_head d_head]

so no array is larger than the chains' number times [batch pos d_head]. Value biases start at the head that has them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from interp.errors import InputError
from interp.frozen import FrozenRun
from interp.names import Head
from interp.path import Path

MEMORY = 2**31
"""Bytes that the streams of one part of the batch may take."""


@dataclass(frozen=True, eq=False)
class Stream:
    """What the chains that end in one head carry, before that head's W_O."""

    head: Head
    paths: tuple[Path, ...]
    z: Float[Tensor, "batch pos path d_head"]


@dataclass(frozen=True)
class Extent:
    """How far to expand: `order` heads in a chain at most; of each layer's chains, the `most` largest are extended
    (by the root mean square of what they write). None for no bound. `split` keeps sources apart."""

    order: int | None = None
    most: int | None = None
    split: bool = True

    def __post_init__(self) -> None:
        for name, lowest in {"order": 0, "most": 0}.items():
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < lowest):
                raise InputError(f"{name} must be a whole number of at least {lowest}, or None, got {value!r}")

    def extends(self, path: Path) -> bool:
        """Whether the path may take one more head."""
        return self.order is None or path.order < self.order


def entering(run: FrozenRun, layer: int | None, split: bool = True) -> dict[str, Float[Tensor, "batch pos d_model"]]:
    """What others than heads have written before a layer (None: the unembedding), by source, or "all" in one."""
    written = run.written_before(layer)
    if not split:
        return {"all": torch.stack(list(written.values())).sum(0)}
    has_bias = run.weights.b_U.any() if layer is None else run.weights.b_V[layer].any()
    if bool(has_bias) and "bias" not in written:
        written["bias"] = torch.zeros_like(written["token"])
    return written


def walk(run: FrozenRun, extent: Extent, layers: int | None = None) -> Iterator[list[Stream]]:
    """The streams of each layer in turn, one a head: every chain that ends there, up to layer `layers` (exclusive)."""
    carried: list[Stream] = []
    for layer in range(run.n_layers if layers is None else layers):
        if extent.order == 0:
            return
        made = layer_streams(run, layer, carried, extent)
        yield made
        carried += strongest(run, [extensible(stream, extent) for stream in made], extent.most)


def layer_streams(run: FrozenRun, layer: int, carried: list[Stream], extent: Extent) -> list[Stream]:
    """The chains that end in each head of a layer: those of one head, and the carried ones with one head more."""
    w, scale = run.weights, run.scales[layer][:, :, None, None]
    sources = entering(run, layer, extent.split)
    x = torch.stack(list(sources.values()), dim=2) / scale
    direct = einsum(x, w.W_V[layer], "batch pos n m, head m d -> batch head pos n d")
    at_bias = list(sources).index("bias" if extent.split else "all") if w.b_V[layer].any() else None
    if at_bias is not None:
        direct[:, :, :, at_bias] += w.b_V[layer][:, None]
    values, paths = [direct], [Path(source) for source in sources]
    for stream in carried:
        moved = einsum(w.W_O[stream.head], w.W_V[layer], "d m, head m e -> head d e")
        values.append(einsum(stream.z / scale, moved, "batch pos n d, head d e -> batch head pos n e"))
        paths += stream.paths
    stacked = torch.cat(values, dim=3)
    z = (run.patterns[layer] @ stacked.flatten(3)).unflatten(3, stacked.shape[3:])
    heads = [Head(layer, index) for index in range(run.n_heads)]
    return [Stream(head, tuple(path.then(head) for path in paths), z[:, head.index]) for head in heads]


def extensible(stream: Stream, extent: Extent) -> Stream:
    return chosen(stream, [i for i, path in enumerate(stream.paths) if extent.extends(path)])


def strongest(run: FrozenRun, streams: list[Stream], most: int | None) -> list[Stream]:
    """The `most` paths among these streams that write most."""
    if most is not None and sum(len(stream.paths) for stream in streams) > most:
        sizes = torch.cat([written_size(run, stream) for stream in streams])
        kept = torch.zeros_like(sizes, dtype=torch.bool)
        kept[sizes.topk(most).indices] = True
        parts = kept.split([len(stream.paths) for stream in streams])
        streams = [chosen(s, part.nonzero()[:, 0].tolist()) for s, part in zip(streams, parts, strict=True)]
    return [stream for stream in streams if stream.paths]


def written_size(run: FrozenRun, stream: Stream) -> Float[Tensor, " path"]:
    """Mean square of what each path writes into the residual stream."""
    W_O = run.weights.W_O[stream.head]
    return einsum(stream.z @ (W_O @ W_O.T), stream.z, "batch pos path d, batch pos path d -> path")


def chosen(stream: Stream, index: list[int]) -> Stream:
    if len(index) == len(stream.paths):
        return stream
    return Stream(stream.head, tuple(stream.paths[i] for i in index), stream.z[:, :, index])


def parts_of(run: FrozenRun, extent: Extent, layers: int | None = None, memory: int = MEMORY) -> list[slice]:
    """The batch in parts whose streams fit `memory` bytes; one part when paths are pruned, so that all agree.

    Raises `InputError` if a single sequence (or, with `most`, the whole batch) does not fit.
    """
    batch, length = run.tokens.shape
    each = length * run.weights.d_head * run.weights.W_V.element_size() * held_paths(run, extent, layers)
    rows = batch if extent.most is not None else max(1, min(batch, memory // max(1, each)))
    if each * rows > memory:
        raise InputError(
            f"the chains through {run.n_layers} layers of {run.n_heads} heads need {each * rows / 1e9:.3g} GB for "
            f"{rows} sequences of {length} tokens, more than {memory / 1e9:.3g} GB: bound them with order= (heads in a "
            "chain) or most= (chains extended from each layer), or pass fewer sequences"
        )
    return [slice(start, min(start + rows, batch)) for start in range(0, batch, rows)]


def held_paths(run: FrozenRun, extent: Extent, layers: int | None = None) -> int:
    """Paths that are held at once at the most: those carried, and one layer's values and outputs."""
    carried, largest = 0, 0
    for new, extended in path_counts(run, extent, layers):
        largest = max(largest, carried + 2 * new)
        carried += extended
    return largest


def path_counts(run: FrozenRun, extent: Extent, layers: int | None = None) -> list[tuple[int, int]]:
    """For each layer, how many paths end there and how many of them are extended."""
    heads, one, counts = run.n_heads, run.select(slice(0, 1)), []
    of_order: dict[int, int] = {}
    for layer in range(run.n_layers if layers is None else layers):
        if extent.order == 0:
            break
        new = {1: heads * len(entering(one, layer, extent.split))}
        for order, n in of_order.items():
            new[order + 1] = new.get(order + 1, 0) + heads * n
        total = sum(new.values())
        kept = {order: n for order, n in new.items() if extent.order is None or order < extent.order}
        if extent.most is not None and sum(kept.values()) > extent.most:
            kept = {min(kept): extent.most}
        for order, n in kept.items():
            of_order[order] = of_order.get(order, 0) + n
        counts.append((total, sum(kept.values())))
    return counts
