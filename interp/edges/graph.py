"""The graph of a transformer: who can write into which input of whom, every such edge with a name."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from interp.errors import InputError
from interp.names import Head
from interp.weights import TransformerWeights

Channel = Literal["Q", "K", "V", "MLP", "logits"]
TOKEN, POSITION, LOGITS = "token", "position", "logits"
HEAD_CHANNELS: tuple[Channel, ...] = ("Q", "K", "V")
_ARROW = re.compile(r"\s*(?:->|→)\s*")
_INPUT = re.compile(r"(.+?)(?:\.|\s+)([QKV])", re.IGNORECASE)


class Edge(NamedTuple):
    """What `sender` writes, as one input of a later node reads it; prints as "L0H0 -> L1H0.K".

    Senders are "token", "position", heads ("L0H1") and MLPs ("L0 MLP"); receivers "L1H0.Q", "L1H0.K", "L1H0.V",
    "L1 MLP" and "logits".
    """

    sender: str
    receiver: str

    def __str__(self) -> str:
        return f"{self.sender} -> {self.receiver}"

    @property
    def node(self) -> str:
        """The node that the receiving input belongs to."""
        return self.receiver.partition(".")[0]

    @property
    def channel(self) -> Channel:
        _, dot, channel = self.receiver.partition(".")
        if dot:
            return channel  # type: ignore[return-value]
        return "logits" if self.receiver == LOGITS else "MLP"

    @classmethod
    def parse(cls, text: str) -> "Edge":
        """The edge that "L0H0 -> L1H0.K" names; `InputError` for a text without one arrow.

        "L0H0->L1H0.K", "L0H0 → L1H0 K" and any spelling of the heads that `Head.parse` reads are the same edge.
        """
        parts = _ARROW.split(text.strip())
        if len(parts) != 2 or not all(parts):
            raise InputError(f"an edge is written as 'L0H0 -> L1H0.K', got {text!r}")
        sender, receiver = parts
        split = _INPUT.fullmatch(receiver)
        if split is not None:
            receiver = f"{_spelt(split[1])}.{split[2].upper()}"
        return cls(_spelt(sender), receiver)


def _spelt(node: str) -> str:
    """A head as it prints; another node as it is."""
    try:
        return str(Head.parse(node))
    except InputError:
        return node


def mlp(layer: int) -> str:
    return f"L{layer} MLP"


@dataclass(frozen=True)
class Graph:
    """All edges of a transformer of this shape, receiver by receiver in the order in which they are computed.

    Every node reads all that was written before it: heads by their Q, K and V inputs separately, an MLP also the
    heads of its own layer, unless it runs beside them (`parallel`). Positions are a sender where they are added to the
    residual stream ("standard") or to queries and keys alone ("shortformer", no edge to values, MLPs or logits);
    rotary positions are no sender. The biases b_O belong to no head: they are always there, and no edge.
    """

    n_layers: int
    n_heads: int
    mlps: bool = False
    positions: Literal["standard", "shortformer"] | None = None
    parallel: bool = False

    @cached_property
    def senders(self) -> tuple[str, ...]:
        """Embeddings first, then each layer's heads and its MLP."""
        found = [TOKEN, *([POSITION] if self.positions else [])]
        for layer in range(self.n_layers):
            found += [*self.heads(layer), *([mlp(layer)] if self.mlps else [])]
        return tuple(found)

    @cached_property
    def receivers(self) -> tuple[str, ...]:
        """Each layer's Q inputs, K inputs, V inputs and MLP, then the logits."""
        found: list[str] = []
        for layer in range(self.n_layers):
            found += [f"{head}.{channel}" for channel in HEAD_CHANNELS for head in self.heads(layer)]
            found += [mlp(layer)] if self.mlps else []
        return (*found, LOGITS)

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        return tuple(
            Edge(sender, receiver)
            for receiver in self.receivers
            for sender in self.senders[: self.n_before(receiver)]
            if sender != POSITION or self.reads_positions(receiver)
        )

    @cached_property
    def index(self) -> dict[Edge, int]:
        return {edge: i for i, edge in enumerate(self.edges)}

    @cached_property
    def places(self) -> tuple[Int[Tensor, " edge"], Int[Tensor, " edge"]]:
        """Rows (receivers) and columns (senders) of the edges in a matrix of receivers x senders."""
        rows = {name: i for i, name in enumerate(self.receivers)}
        columns = {name: i for i, name in enumerate(self.senders)}
        found = [(rows[edge.receiver], columns[edge.sender]) for edge in self.edges]
        at = torch.tensor(found, dtype=torch.long).reshape(-1, 2)
        return at[:, 0], at[:, 1]

    @cached_property
    def leaving(self) -> dict[str, list[int]]:
        """Places of the edges that leave each sender."""
        found: dict[str, list[int]] = {sender: [] for sender in self.senders}
        for place, edge in enumerate(self.edges):
            found[edge.sender].append(place)
        return found

    def heads(self, layer: int) -> list[str]:
        return [str(Head(layer, index)) for index in range(self.n_heads)]

    @property
    def n_embeddings(self) -> int:
        return 1 + bool(self.positions)

    def n_before(self, receiver: str) -> int:
        """How many senders, in their order, come before a receiver."""
        per_layer = self.n_heads + self.mlps
        if receiver == LOGITS:
            return self.n_embeddings + self.n_layers * per_layer
        if receiver.endswith(" MLP"):
            return self.n_embeddings + int(receiver[1:-4]) * per_layer + (0 if self.parallel else self.n_heads)
        return self.n_embeddings + Head.parse(receiver.partition(".")[0]).layer * per_layer

    def reads_positions(self, receiver: str) -> bool:
        return self.positions == "standard" or receiver.endswith((".Q", ".K"))

    def find(self, edge: Edge | str) -> int:
        """The place of an edge among `edges`; `InputError` with what is there when it is not."""
        wanted = Edge.parse(edge) if isinstance(edge, str) else edge
        if wanted not in self.index:
            raise InputError(self._why_not(wanted))
        return self.index[wanted]

    def _why_not(self, edge: Edge) -> str:
        if edge.sender not in self.senders:
            return f"no node {edge.sender!r} writes in this model; there are {', '.join(self.senders)}"
        if edge.receiver not in self.receivers:
            return f"no input is called {edge.receiver!r}; there are {', '.join(self.receivers)}"
        return f"{edge.receiver} cannot read {edge.sender}: it is not written before, or is not added there"


def graph_of(w: TransformerWeights) -> Graph:
    """The graph of a model; `InputError` for one without attention layers. A gated MLP is one node, like any other."""
    if not w.n_layers:
        raise InputError("the model has no attention layers: there are no edges between heads to measure")
    positions = "standard" if w.W_pos is not None else "shortformer" if w.W_pos_attn is not None else None
    mlps = w.W_in is not None
    return Graph(w.n_layers, w.n_heads, mlps, positions, mlps and w.parallel)  # type: ignore[arg-type]
