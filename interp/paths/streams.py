"""What every chain of heads carries, layer by layer, with patterns and scales held: the engine of path expansion.

A chain that ends in head h writes z W_O of h, with z in the head's own space [batch pos d_head]. The next head g reads

    z' = A_g / s  z W_O^h W_V^g,    W_O^h W_V^g  [d_head d_head]

so no array is larger than the chains' number times [batch pos d_head]; heads are done one at a time, and what no later
head reads is not kept. Value biases start at the head that has them.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from interp.errors import InputError
from interp.names import Head
from interp.paths.frozen import FrozenRun
from interp.paths.path import Path

MEMORY = 2**31
"""Bytes that the streams of one sequence (or of all, where they are worked on together) may take, and the result."""
PART = 2**24
"""Bytes of streams that a CPU works on at a time: few enough to stay near its cache, which is quicker."""


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
        for name, value in {"order": self.order, "most": self.most}.items():
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
                raise InputError(f"{name} must be a whole number of at least 0, or None, got {value!r}")

    def extends(self, path: Path) -> bool:
        """Whether the path may take one more head."""
        return self.order is None or path.order < self.order


def bias_source(split: bool) -> str:
    """The source that biases belong to."""
    return "bias" if split else "all"


def entering(
    run: FrozenRun, layer: int | None, bias: Float[Tensor, "*rest n"], split: bool = True
) -> dict[str, Float[Tensor, "batch pos d_model"]]:
    """What others than heads have written before a layer (None: the unembedding), by source, or "all" in one.

    There is a "bias" source if something wrote one, or if the reader has one (`bias` is not 0).
    """
    written = run.written_before(layer)
    if not split:
        return {"all": torch.stack(list(written.values())).sum(0)}
    if "bias" not in written and bool(bias.any()):
        written["bias"] = torch.zeros_like(written["token"])
    return written


def walk(run: FrozenRun, extent: Extent, layers: int | None = None) -> Iterator[Stream]:
    """Every chain, head by head and layer by layer, up to layer `layers` (exclusive; None: all)."""
    end = run.n_layers if layers is None else layers
    carried: list[Stream] = []
    for layer in range(0 if extent.order == 0 else end):
        made = []
        for stream in layer_streams(run, layer, carried, extent.split):
            yield stream
            if layer + 1 < end:
                made.append(extensible(stream, extent))
        carried += strongest(run, made, extent.most)


def layer_streams(run: FrozenRun, layer: int, carried: list[Stream], split: bool) -> Iterator[Stream]:
    """The chains that end in each head of a layer: those of one head, and the carried ones with one head more."""
    w, b_V = run.weights, run.weights.b_V[layer]
    sources = entering(run, layer, b_V, split)
    direct = torch.stack([values_of(x, w.W_V[layer]) for x in sources.values()], dim=3)
    paths = [Path(source) for source in sources] + [path for stream in carried for path in stream.paths]
    at_bias = list(sources).index(bias_source(split)) if bool(b_V.any()) else None
    values = direct.new_empty(*run.tokens.shape, len(paths), w.d_head)
    for index in range(run.n_heads):
        head, pattern = Head(layer, index), run.patterns[layer][:, index]
        onward = [stream.z @ (w.W_O[stream.head] @ w.W_V[head]) for stream in carried]
        torch.cat([direct[index], *onward], dim=2, out=values)
        moved = (pattern / run.scales[layer][:, None]) @ values.flatten(2)
        z = moved.unflatten(2, (len(paths), w.d_head))
        if at_bias is not None:
            z[:, :, at_bias] += pattern.sum(-1, keepdim=True) * b_V[index]
        yield Stream(head, tuple(path.then(head) for path in paths), z)


def values_of(
    x: Float[Tensor, "batch pos d_model"], W_V: Float[Tensor, "head d_model d_head"]
) -> Float[Tensor, "head batch pos d_head"]:
    """x W_V; once for all sequences where they share x, as they do positions and biases."""
    read = x[:1] if x.stride(0) == 0 else x
    return einsum(read, W_V, "batch pos m, head m d -> head batch pos d").expand(-1, len(x), -1, -1)


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
    """Sum of squares of what each path writes into the residual stream."""
    W_O = run.weights.W_O[stream.head]
    return einsum(stream.z @ (W_O @ W_O.T), stream.z, "batch pos path d, batch pos path d -> path")


def chosen(stream: Stream, index: list[int]) -> Stream:
    if len(index) == len(stream.paths):
        return stream
    return Stream(stream.head, tuple(stream.paths[i] for i in index), stream.z[:, :, index])


def parts_of(
    run: FrozenRun, extent: Extent, layers: int | None = None, memory: int = MEMORY, results: int = 0
) -> list[slice]:
    """The batch in parts of equal size whose streams take `PART` bytes, or as much as one sequence needs.

    One part where paths are pruned, so that all agree on which, and where the caller keeps `results` vectors of d_head
    numbers of every path. Raises `InputError` if a part does not fit `memory` bytes.
    """
    batch, length = run.tokens.shape
    paths = held_paths(run, extent, layers) + results * sum(new for new, _ in path_counts(run, extent, layers))
    each = length * run.weights.d_head * run.weights.W_V.element_size() * paths
    together = batch if extent.most is not None or results else 1
    if each * together > memory:
        raise InputError(
            f"the chains through {run.n_layers if layers is None else layers} layers of {run.n_heads} heads need "
            f"{each * together / 1e9:.3g} GB for {together} sequences of {length} tokens, more than "
            f"{memory / 1e9:.3g} GB: bound them with order= (heads in a chain) or most= (chains extended from each "
            "layer), or pass fewer sequences"
        )
    wanted = min(PART, memory) if run.tokens.device.type == "cpu" else memory
    rows = max(together, min(batch, wanted // max(1, each)))
    even = math.ceil(batch / math.ceil(batch / rows))
    return [slice(start, min(start + even, batch)) for start in range(0, batch, even)]


def held_paths(run: FrozenRun, extent: Extent, layers: int | None = None) -> int:
    """Paths that are held at once at the most: those carried, a layer's, and a head's (as values, twice, and as z)."""
    carried, largest, counts = 0, 0, path_counts(run, extent, layers)
    for layer, (new, extended) in enumerate(counts):
        kept = new if layer + 1 < len(counts) else 0
        largest = max(largest, carried + kept + 3 * new // run.n_heads)
        carried += extended
    return largest


def is_complete(run: FrozenRun, extent: Extent, layers: int | None = None) -> bool:
    """Whether every path is followed to its end."""
    end = run.n_layers if layers is None else layers
    if extent.order is not None and extent.order < end:
        return False
    return all(new == extended for new, extended in path_counts(run, extent, layers)[:-1])


def path_counts(run: FrozenRun, extent: Extent, layers: int | None = None) -> list[tuple[int, int]]:
    """For each layer, how many paths end there and how many of them are extended, at the most."""
    heads, one, counts = run.n_heads, run.select(slice(0, 1)), []
    of_order: dict[int, int] = {}
    end = run.n_layers if layers is None else layers
    for layer in range(0 if extent.order == 0 else end):
        new = {1: heads * len(entering(one, layer, run.weights.b_V[layer], extent.split))}
        for order, n in of_order.items():
            new[order + 1] = new.get(order + 1, 0) + heads * n
        kept = {order: n for order, n in new.items() if extent.order is None or order < extent.order}
        if extent.most is not None and sum(kept.values()) > extent.most:
            kept = {min(kept): extent.most}
        for order, n in kept.items():
            of_order[order] = of_order.get(order, 0) + n
        counts.append((sum(new.values()), sum(kept.values())))
    return counts
