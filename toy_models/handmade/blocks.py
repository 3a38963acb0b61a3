"""Residual streams cut into named blocks, heads that match and move whole blocks, and the model they make.

A block is a run of coordinates with one meaning: `tok` holds a one-hot token, `pos` a one-hot position, `out` becomes
the logits, others hold what heads write. A head's scores are a sum of matches and its output a sum of moves:

    score(q, k) = sum_matches  x_q[query] @ table @ x_k[key]^T
    out(q)      = sum_k pattern(q, k) sum_moves  x_k[source] @ table      written to block `target`

Our transformer divides scores by sqrt(d_head), so W_Q is multiplied by it. All heads are as wide as the widest.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from toy_models.config import TransformerConfig
from toy_models.errors import InputError
from toy_models.handmade.truth import Channel, Edge, HeadIndex, Node
from toy_models.transformer import Transformer

EMBEDDED: dict[str, Node] = {"tok": "token", "pos": "position"}


@dataclass(frozen=True)
class Size:
    """Sizes and strengths shared by the handmade models; the defaults are the reference layout."""

    d_vocab: int = 16
    """Tokens, the first of which (0) begins every sequence and comes nowhere else."""
    n_ctx: int = 34
    """Longest sequence."""
    sharpness: float = 40.0
    """Score of a match, after the division by sqrt(d_head); no match scores 0."""
    gain: float = 12.0
    """Logit of a token copied with full attention."""
    dtype: torch.dtype = torch.float64

    def __post_init__(self) -> None:
        for name, lowest in {"d_vocab": 4, "n_ctx": 7}.items():
            value = getattr(self, name)
            if value < lowest:
                raise InputError(f"{name} must be at least {lowest}, got {value}")
        for name in ("sharpness", "gain"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} must be a positive number, got {value!r}")
        if self.dtype not in (torch.float32, torch.float64):
            raise InputError(f"dtype must be torch.float32 or torch.float64, got {self.dtype}")

    @property
    def period(self) -> int:
        """Length of the repeated block of the example: the longest that fits twice behind token 0."""
        return min(self.d_vocab - 1, (self.n_ctx - 1) // 2)

    def widths(self, *, by_token: str, by_position: str = "") -> dict[str, int]:
        """Blocks as wide as the vocabulary, then blocks as wide as the context; names separated by spaces."""
        tokens = dict.fromkeys(by_token.split(), self.d_vocab)
        return tokens | dict.fromkeys(by_position.split(), self.n_ctx)


@dataclass(frozen=True)
class Match:
    """Adds x_q[query] @ table @ x_k[key]^T to the scores."""

    query: str
    key: str
    table: Float[Tensor, "query key"]


@dataclass(frozen=True)
class Move:
    """Writes x_k[source] @ table, weighted by the pattern, to `target`."""

    source: str
    target: str
    table: Float[Tensor, "source target"]


@dataclass(frozen=True)
class HeadPlan:
    role: str
    matches: tuple[Match, ...] = ()
    moves: tuple[Move, ...] = ()

    @property
    def active(self) -> bool:
        return bool(self.matches or self.moves)


IDLE = HeadPlan("idle")


@dataclass(frozen=True)
class Plan:
    """A model before its weights: the blocks and their widths, and the heads of each layer."""

    size: Size
    widths: Mapping[str, int]
    layers: tuple[tuple[HeadPlan, ...], ...]
    smear: float | None = None
    """Raw smear parameter of every head: share sigmoid(smear) of a key is the token's own."""

    def heads(self) -> Iterator[tuple[HeadIndex, HeadPlan]]:
        for layer, heads in enumerate(self.layers):
            for index, head in enumerate(heads):
                yield (layer, index), head

    @property
    def roles(self) -> dict[HeadIndex, str]:
        return {at: head.role for at, head in self.heads()}

    @property
    def d_head(self) -> int:
        return max(max(self._width_of(columns(head)), 1) for _, head in self.heads())

    def _width_of(self, read: tuple[set[str], set[str]]) -> int:
        return max(sum(self.widths[name] for name in side) for side in read)

    def slices(self) -> dict[str, slice]:
        """Where each block lies in the residual stream."""
        ends, start = {}, 0
        for name, width in self.widths.items():
            ends[name] = slice(start, start + width)
            start += width
        return ends

    def config(self) -> TransformerConfig:
        return TransformerConfig(
            n_layers=len(self.layers),
            n_heads=max((len(heads) for heads in self.layers), default=1),
            d_model=sum(self.widths.values()),
            d_head=self.d_head,
            d_vocab=self.size.d_vocab,
            n_ctx=self.size.n_ctx,
            positions="standard" if "pos" in self.widths else "none",
            smeared_keys=self.smear is not None,
            normalization="none",
            tied_embeddings=False,
            biases=False,
        )


def columns(head: HeadPlan) -> tuple[set[str], set[str]]:
    """The blocks that a head's keys read and the blocks that its values read: the columns it needs."""
    return {match.key for match in head.matches}, {move.source for move in head.moves}


def build(plan: Plan) -> Transformer:
    """The ordinary transformer whose weights carry out the plan."""
    config, size, where = plan.config(), plan.size, plan.slices()
    model = Transformer(config, torch.Generator().manual_seed(0)).to(size.dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.embed.W_E[:, where["tok"]] = torch.eye(size.d_vocab, dtype=size.dtype)
        if config.positions == "standard":
            model.pos_embed.W_pos[:, where["pos"]] = torch.eye(size.n_ctx, dtype=size.dtype)
        assert model.unembed.W_U is not None
        model.unembed.W_U[where["out"]] = torch.eye(size.d_vocab, dtype=size.dtype)
        for (layer, index), head in plan.heads():
            write_head(model.blocks[layer].attn, index, head, plan)
        if plan.smear is not None:
            for block in model.blocks:
                block.attn.smear.fill_(plan.smear)
    return model


def write_head(attention: torch.nn.Module, index: int, head: HeadPlan, plan: Plan) -> None:
    """Sets the four matrices of one head; keys and values read whole blocks through the identity."""
    where, dtype = plan.slices(), plan.size.dtype
    w_q, w_k, w_v, w_o = (getattr(attention, name)[index] for name in ("W_Q", "W_K", "W_V", "W_O"))
    key_columns, value_columns = (column_slices(names, plan) for names in columns(head))
    for match in head.matches:
        at = key_columns[match.key]
        w_q[where[match.query], at] += math.sqrt(plan.d_head) * match.table.to(dtype)
        w_k[where[match.key], at] = torch.eye(plan.widths[match.key], dtype=dtype)
    for move in head.moves:
        at = value_columns[move.source]
        w_v[where[move.source], at] = torch.eye(plan.widths[move.source], dtype=dtype)
        w_o[at, where[move.target]] += move.table.to(dtype)


def column_slices(names: set[str], plan: Plan) -> dict[str, slice]:
    slices, start = {}, 0
    for name in plan.widths:
        if name in names:
            slices[name] = slice(start, start + plan.widths[name])
            start += plan.widths[name]
    return slices


def reads(head: HeadPlan) -> Iterator[tuple[str, Channel]]:
    """The blocks that a head reads, each with what it is read for."""
    for match in head.matches:
        yield match.query, "Q"
        yield match.key, "K"
    for move in head.moves:
        yield move.source, "V"


def edges(plan: Plan) -> frozenset[Edge]:
    """Who writes what whom reads, from the plan's blocks: embeddings and heads to later heads and to the logits."""
    writers: dict[str, list[Node]] = {name: [] for name in plan.widths}
    for block, source in EMBEDDED.items():
        if block in writers:
            writers[block].append(source)
    found: set[Edge] = set()
    for layer, heads in enumerate(plan.layers):
        for index, head in enumerate(heads):
            found |= {Edge(s, (layer, index), channel) for block, channel in reads(head) for s in writers[block]}
        for index, head in enumerate(heads):
            for block in {move.target for move in head.moves}:
                writers[block].append((layer, index))
    return frozenset(found | {Edge(source, "logits", "logits") for source in writers["out"]})
