"""A forward pass in which every edge can be open, shut or anything between: one tensor holds them all.

Each input of each node (Q, K and V of a head, an MLP, the logits) reads

    sum over senders s before it of    m_e out_s + (1 - m_e) other_s

with m_e the edge's mask, out_s what the sender writes in this run, and other_s what stands in for it: its output in
another run, its mean, or nothing. The input is then normalised as the model does, with the scale of the patched
input. With all m = 1 the logits are the model's; with all m = 0 every node reads what stands in.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor

from interp.edges.graph import POSITION, TOKEN, Graph, mlp
from interp.errors import InputError
from interp.weights import TransformerWeights
from interp.weights.rotation import rotated

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "gelu_pytorch_tanh": partial(F.gelu, approximate="tanh"),
    "silu": F.silu,
}


@dataclass(frozen=True, eq=False)
class Outputs:
    """What senders write in a run; an axis of length 1 holds for all sequences or positions.

    Shortformer positions are not written to the residual stream: `senders` holds 0 for them, and `added` what each
    layer's queries and keys get after the normalisation.
    """

    senders: Float[Tensor, "sender batch pos d_model"]
    added: Float[Tensor, "layer rows length d_model"] | None = None

    def map(self, function: Callable[[Tensor], Tensor]) -> "Outputs":
        return Outputs(function(self.senders), None if self.added is None else function(self.added))

    def minus(self, other: "Outputs") -> "Outputs":
        """The difference, sender by sender."""
        return self.combine(other, torch.sub)

    def combine(self, other: "Outputs", function: Callable[[Tensor, Tensor], Tensor]) -> "Outputs":
        added = None if self.added is None or other.added is None else function(self.added, other.added)
        return Outputs(function(self.senders, other.senders), added)

    def first(self, n: int) -> "Outputs":
        """The first n senders: the embeddings, for n of `Graph.n_embeddings`."""
        return Outputs(self.senders[:n], self.added)


@dataclass(frozen=True, eq=False)
class Nudge:
    """Adds `size[b, e]` times what `towards` has for the edge's sender to the edge's receiver, in each sequence.

    The gradient at size 0 is the receiver's gradient times a difference of outputs: attribution patching of edges.
    """

    size: Float[Tensor, "batch edge"]
    towards: Outputs


def embeddings(w: TransformerWeights, graph: Graph, tokens: Int[Tensor, "batch pos"]) -> Outputs:
    """What "token" and "position" write; `InputError` for tokens that the model cannot run on."""
    if tokens.ndim != 2 or not tokens.numel() or tokens.shape[1] > w.n_ctx:
        raise InputError(f"tokens must be [batch pos] with at most {w.n_ctx} positions, got {list(tokens.shape)}")
    if int(tokens.min()) < 0 or int(tokens.max()) >= w.d_vocab:
        raise InputError(f"tokens must lie in 0..{w.d_vocab - 1}, got {int(tokens.min())}..{int(tokens.max())}")
    length = tokens.shape[1]
    written = {TOKEN: w.W_E[tokens.to(w.device)]}
    if graph.positions:
        table = torch.zeros_like(w.W_E[:1]) if w.W_pos is None else w.W_pos[:length]
        written[POSITION] = table.expand_as(written[TOKEN])
    added = None if w.W_pos_attn is None else w.W_pos_attn[:, None, :length].expand(-1, len(tokens), -1, -1)
    return Outputs(torch.stack(list(written.values())), added)


def run_graph(
    w: TransformerWeights,
    graph: Graph,
    start: Outputs,
    masks: Float[Tensor, " edge"] | None = None,
    others: Outputs | None = None,
    nudge: Nudge | None = None,
) -> tuple[Float[Tensor, "batch pos d_vocab_out"], Outputs]:
    """Logits, and what every sender wrote, from the embeddings `start`; differentiable in masks, nudge and start.

    `w` unfolded or folded. Without `masks` all edges are open; without `others` nothing stands in for a sender (zero).
    Raises `InputError` for masks that are not one number for each edge, and an MLP with an unknown activation.
    """
    if masks is not None and masks.shape != (len(graph.edges),):
        raise InputError(
            f"the graph has {len(graph.edges)} edges, one mask for each is needed, got {list(masks.shape)}"
        )
    if w.W_in is not None and w.activation not in ACTIVATIONS:
        raise InputError(f"MLPs run with {', '.join(ACTIVATIONS)}, not with {w.activation!r}")
    run = _Run(w, graph, start, masks, others, nudge)
    for layer in range(w.n_layers):
        beside = run.read_mlp(layer) if graph.parallel else None
        run.attend(layer)
        if w.W_in is not None:
            run.compute_mlp(layer, run.read_mlp(layer) if beside is None else beside)
    return run.logits(), Outputs(torch.stack(run.written), start.added)


class _Run:
    """What has been written so far, and how each receiver reads it."""

    def __init__(
        self,
        w: TransformerWeights,
        graph: Graph,
        start: Outputs,
        masks: Tensor | None,
        others: Outputs | None,
        nudge: Nudge | None,
    ):
        zeros = Outputs(
            start.senders.new_zeros(len(graph.senders), 1, 1, w.d_model),
            None if start.added is None else torch.zeros_like(start.added[:, :1]),
        )
        masks = start.senders.new_ones(len(graph.edges)) if masks is None else masks.to(start.senders)
        self.w, self.graph, self.added, self.others = w, graph, start.added, others or zeros
        self.written: list[Tensor] = []
        self.changes: list[Tensor] = []
        self.always = start.senders.new_zeros(w.d_model)
        self.write(start.senders)
        self.masks = as_matrix(graph, masks)
        self.towards = None if nudge is None else nudge.towards
        self.nudges = None if nudge is None else as_matrix(graph, nudge.size)

    def write(self, out: Float[Tensor, "sender batch pos d_model"]) -> None:
        """Takes in what the next senders wrote, and what stands in for them."""
        done = len(self.written)
        other = self.others.senders[done : done + len(out)]
        self.written += list(out)
        self.changes += list(out - other)
        self.always = self.always + other.sum(0)

    def read(self, rows: slice) -> Float[Tensor, "receiver batch pos d_model"]:
        """The inputs of some receivers: sum of other_s + b_O + sum of m_e (out_s - other_s)."""
        change = torch.stack(self.changes)
        n, shape = len(change), change.shape[1:]
        always = self.always.expand(shape).reshape(1, -1)
        x = torch.addmm(always, self.masks[rows, :n], change.flatten(1)).unflatten(1, shape)
        if self.nudges is not None and self.towards is not None:
            sizes = self.nudges[:, rows, :n]
            x = x + einsum(sizes, self.towards.senders[:n], "b receiver sender, sender b p m -> receiver b p m")
        return x

    def read_added(self, rows: slice, layer: int) -> Tensor | float:
        """Shortformer positions, as the queries or keys of a layer read them; 0 without."""
        if self.added is None or self.others.added is None:
            return 0.0
        at, other = self.graph.senders.index(POSITION), self.others.added[layer]
        x = other + self.masks[rows, at][:, None, None, None] * (self.added[layer] - other)
        if self.nudges is not None and self.towards is not None and self.towards.added is not None:
            x = x + einsum(self.nudges[:, rows, at], self.towards.added[layer], "b receiver, b p m -> receiver b p m")
        return x

    def attend(self, layer: int) -> None:
        """All heads of a layer: out = softmax(q k^T / scale) v W_O."""
        w, heads = self.w, self.w.n_heads
        first = layer * (3 * heads + self.graph.mlps)
        x = self.read(slice(first, first + 3 * heads))
        x = w.normalise(x, at(w.ln1_w, layer), at(w.ln1_b, layer))
        q_in, k_in, v_in = x.unflatten(0, (3, heads))
        q_in = q_in + self.read_added(slice(first, first + heads), layer)
        k_in = k_in + self.read_added(slice(first + heads, first + 2 * heads), layer)
        q, k, v = (
            einsum(x, W[layer], "head b p m, head m d -> b head p d") + b[layer][:, None]
            for x, W, b in ((q_in, w.W_Q, w.b_Q), (k_in, w.W_K, w.b_K), (v_in, w.W_V, w.b_V))
        )
        z = mixed(w, layer, q, k, v)
        self.write(einsum(z, w.W_O[layer], "b head p d, head d m -> head b p m"))
        self.always = self.always + w.b_O[layer]

    def read_mlp(self, layer: int) -> Float[Tensor, "batch pos d_model"]:
        row = self.graph.receivers.index(mlp(layer))
        return self.read(slice(row, row + 1))[0]

    def compute_mlp(self, layer: int, x: Float[Tensor, "batch pos d_model"]) -> None:
        """activation(x W_in), or activation(x W_gate) * x W_in, times W_out; with biases."""
        w = self.w
        assert w.W_in is not None
        assert w.b_in is not None
        assert w.W_out is not None
        assert w.b_out is not None
        x = w.normalise(x, at(w.ln2_w, layer), at(w.ln2_b, layer))
        activation, hidden = ACTIVATIONS[w.activation or ""], x @ w.W_in[layer] + w.b_in[layer]
        if w.W_gate is None or w.b_gate is None:
            hidden = activation(hidden)
        else:
            hidden = activation(x @ w.W_gate[layer] + w.b_gate[layer]) * hidden
        self.write((hidden @ w.W_out[layer] + w.b_out[layer])[None])

    def logits(self) -> Float[Tensor, "batch pos d_vocab_out"]:
        w, last = self.w, len(self.graph.receivers) - 1
        x = self.read(slice(last, last + 1))[0]
        return w.normalise(x, w.ln_final_w, w.ln_final_b) @ w.W_U + w.b_U


def mixed(w: TransformerWeights, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Float[Tensor, "batch head pos d_head"]:
    """pattern v, with keys smeared and queries and keys turned where the model does so."""
    if w.smear is not None:
        share = w.smear[layer][:, None, None]
        k = share * k + (1 - share) * torch.cat([k[..., :1, :], k[..., :-1, :]], dim=-2)
    q, k = rotated(w, q), rotated(w, k)
    scores = q @ k.transpose(-1, -2) / w.attn_scale
    if w.attention_dir == "causal":
        future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
        scores = scores.masked_fill(future, -torch.inf)
    return scores.softmax(-1) @ v


def as_matrix(graph: Graph, values: Float[Tensor, "*rest edge"]) -> Float[Tensor, "*rest receiver sender"]:
    """Numbers of edges as a matrix, 0 where there is no edge."""
    rows, columns = (index.to(values.device) for index in graph.places)
    width = len(graph.senders)
    flat = values.new_zeros(*values.shape[:-1], len(graph.receivers) * width)
    return flat.index_copy(-1, rows * width + columns, values).unflatten(-1, (-1, width))


def at(gains: Tensor | None, layer: int) -> Tensor | None:
    return None if gains is None else gains[layer]
