"""Paths of a running model: reading what senders write, and changing what one receiver reads.

Senders and receivers are called as in `interp.edges.graph`: "token", "L0H2", "L0 MLP"; "L1H0.K", "L1 MLP", "logits".
"""

from collections.abc import Iterable, Mapping
from functools import partial

import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor, nn

from interp.ablation.head_inputs import Change, Channel, Edit, chained, check_computed_anew, head_input_edits
from interp.ablation.losses import device_of
from interp.edges.graph import LOGITS, POSITION, TOKEN, Edge, Graph, graph_of
from interp.errors import InputError
from interp.hooks import intervene, record
from interp.names import Head, embed_name, mlp_out_name, resid_mid_name, resid_post_name, resid_pre_name, z_name
from interp.weights import TransformerWeights, weights_of


@torch.no_grad()
def patch_paths(
    model: nn.Module,
    base: Int[Tensor, "batch pos"],
    other: Int[Tensor, "other_batch other_pos"],
    paths: Iterable[Edge | str],
) -> Float[Tensor, "batch pos d_vocab"]:
    """Logits of `base` with several paths patched at once; "L0H0 -> L1H0.K" is one of them.

    Each receiver reads what its patched senders write in the run on `other`, and what all others write now, that is
    after the patches before it. With every path patched, that is the other run.
    Raises `InputError` for a model whose attention cannot be computed anew, for paths that are not there, and for
    tokens of different shapes.
    """
    asked = [Edge.parse(path) if isinstance(path, str) else path for path in paths]
    if base.shape != other.shape:
        raise InputError(f"both runs need tokens of one shape, got {list(base.shape)} and {list(other.shape)}")
    w = weights_of(model, fold=False)
    graph = graph_of(w)
    into: dict[str, list[str]] = {}
    for edge in asked:
        graph.find(edge)
        into.setdefault(edge.receiver, []).append(edge.sender)
    base, other = (tokens.to(device_of(model)) for tokens in (base, other))
    check_receivers(model, w, into, base)
    points = sender_points(graph)
    theirs, now = record(model, other, names=points), dict[str, Tensor]()

    def keep(point: str, value: Tensor) -> Tensor:
        now[point] = value
        return value

    def change(senders: list[str]) -> Tensor:
        return torch.stack([written_by(w, each, theirs) - written_by(w, each, now) for each in senders]).sum(0)

    changes: dict[str, list[Change]] = {
        receiver: [(slice(None), partial(change, senders))] for receiver, senders in into.items()
    }
    kept = {point: partial(keep, point) for point in points}
    with intervene(model, chained(receiver_edits(model, w, changes), kept)):
        return model(base)


def check_receivers(
    model: nn.Module, w: TransformerWeights, receivers: Iterable[str], tokens: Int[Tensor, "batch pos"]
) -> None:
    """`InputError` unless the inputs of the heads among the receivers can be changed, as two of the sequences show."""
    nodes = {receiver.partition(".")[0] for receiver in receivers if "." in receiver}
    check_computed_anew(model, w, tokens[:2], sorted({Head.parse(node).layer for node in nodes}))


def sender_points(graph: Graph) -> list[str]:
    """The hook points at which what senders write is read off."""
    layers = range(graph.n_layers)
    return [embed_name(), *map(z_name, layers), *(map(mlp_out_name, layers) if graph.mlps else ())]


def written_by(w: TransformerWeights, sender: str, values: Mapping[str, Tensor]) -> Float[Tensor, "batch pos d_model"]:
    """What a sender adds to the residual stream, without b_O; 0 for positions, which are the same in every run."""
    if sender in (TOKEN, POSITION):
        return values[embed_name()] if sender == TOKEN else torch.zeros_like(values[embed_name()])
    if sender.endswith(" MLP"):
        return values[mlp_out_name(int(sender[1:-4]))]
    layer, index = Head.parse(sender)
    return einsum(values[z_name(layer)][:, :, index], w.W_O[layer, index], "batch pos d, d m -> batch pos m")


def receiver_edits(model: nn.Module, w: TransformerWeights, changes: Mapping[str, list[Change]]) -> dict[str, Edit]:
    """For `intervene`: adds to the inputs of receivers, before they normalise.

    A head's input is its own (`interp.ablation.head_inputs`), and the logits' is the stream after the last layer. An
    MLP shares its stream with what comes later: there the output of its normalisation is computed anew.
    """
    heads: dict[tuple[Head, Channel], list[Change]] = {}
    edits: list[Mapping[str, Edit]] = []
    for receiver, each in changes.items():
        node, dot, channel = receiver.partition(".")
        if dot:
            heads[Head.parse(node), channel] = each  # type: ignore[index]
        elif receiver == LOGITS:
            edits.append({resid_post_name(w.n_layers - 1): partial(_add, each)})
        else:
            edits.append(_mlp_edits(w, int(node[1:-4]), each))
    return chained(*edits, head_input_edits(model, w, heads))


def _add(changes: list[Change], value: Tensor) -> Tensor:
    for rows, change in changes:
        value[rows] += change()
    return value


def _mlp_edits(w: TransformerWeights, layer: int, changes: list[Change]) -> dict[str, Edit]:
    stream: list[Tensor] = []
    gain, bias = (None if each is None else each[layer] for each in (w.ln2_w, w.ln2_b))

    def keep(value: Tensor) -> Tensor:
        stream[:] = [value]
        return value

    def normalise(value: Tensor) -> Tensor:
        for rows, change in changes:
            value[rows] = w.normalise(stream[0][rows] + change(), gain, bias)
        return value

    read = resid_pre_name(layer) if w.parallel else resid_mid_name(layer)
    return {read: keep, f"blocks.{layer}.ln2": normalise}
