"""Paths of a running model: reading what senders write, and changing what one receiver reads.

Senders and receivers are called as in `interp.edges.graph`: "token", "L0H2", "L0 MLP"; "L1H0.K", "L1 MLP", "logits".
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor, nn

from interp.ablation.edges import INPUT_NAMES
from interp.ablation.losses import device_of
from interp.edges.graph import LOGITS, POSITION, TOKEN, Edge, Graph, graph_of
from interp.errors import InputError
from interp.hooks import intervene, record
from interp.hooks.sites import sites_of
from interp.names import Head, embed_name, mlp_out_name, resid_mid_name, resid_post_name, z_name
from interp.weights import TransformerWeights, weights_of

Change = tuple[slice, Callable[[], Tensor]]
"""Sequences of a batch, and what is added to a receiver's input there: [batch pos d_model], asked for when it reads."""


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
    Raises `InputError` for a model without inputs split by head, for paths that are not there, and for tokens of
    different shapes.
    """
    asked = [Edge.parse(path) if isinstance(path, str) else path for path in paths]
    refuse_joint_inputs(model, [edge.receiver for edge in asked])
    if base.shape != other.shape:
        raise InputError(f"both runs need tokens of one shape, got {list(base.shape)} and {list(other.shape)}")
    w = weights_of(model, fold=False)
    graph = graph_of(w)
    into: dict[str, list[str]] = {}
    for edge in asked:
        graph.find(edge)
        into.setdefault(edge.receiver, []).append(edge.sender)
    points = sender_points(graph)
    theirs, now = record(model, other.to(device_of(model)), names=points), dict[str, Tensor]()

    def keep(point: str, value: Tensor) -> Tensor:
        now[point] = value
        return value

    def change(senders: list[str]) -> Tensor:
        return torch.stack([written_by(w, each, theirs) - written_by(w, each, now) for each in senders]).sum(0)

    changes: dict[str, list[Change]] = {
        receiver: [(slice(None), partial(change, senders))] for receiver, senders in into.items()
    }
    with intervene(model, {point: partial(keep, point) for point in points} | receiver_edits(w, changes)):
        return model(base.to(device_of(model)))


def refuse_joint_inputs(model: nn.Module, receivers: Iterable[str] | None) -> None:
    """`InputError` unless the model can change the input of one head, where that is asked for (None: it is)."""
    if receivers is not None and all(each == LOGITS for each in receivers):
        return
    point = INPUT_NAMES["Q"](0)
    site = sites_of(model).get(point)
    if site is None or not site.on_request:
        raise InputError(
            f"path patching edits the inputs split by head ({point} and so on), which this {type(model).__name__} does "
            "not run; a TransformerLens model of theirs can be turned into one that does by "
            "toy_models.bridge.from_bridge"
        )


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


def receiver_edits(w: TransformerWeights, changes: Mapping[str, list[Change]]) -> dict[str, Any]:
    """For `intervene`: adds to the inputs of receivers, before they normalise.

    A head's input is its own copy of the residual stream, and the logits' is the stream after the last layer. An MLP
    shares its stream with what comes later: there the output of its normalisation is computed anew.
    """
    heads: dict[str, dict[int, list[Change]]] = {}
    edits: dict[str, Any] = {}
    for receiver, each in changes.items():
        node, _, channel = receiver.partition(".")
        if channel in INPUT_NAMES:
            head = Head.parse(node)
            heads.setdefault(INPUT_NAMES[channel](head.layer), {})[head.index] = each
        elif receiver == LOGITS:
            edits[resid_post_name(w.n_layers - 1)] = partial(_add, each)
        else:
            edits |= _mlp_edits(w, int(node[1:-4]), each)
    return edits | {point: partial(_add_by_head, each) for point, each in heads.items()}


def _add(changes: list[Change], value: Tensor) -> Tensor:
    for rows, change in changes:
        value[rows] += change()
    return value


def _add_by_head(changes: dict[int, list[Change]], value: Tensor) -> Tensor:
    for index, each in changes.items():
        for rows, change in each:
            value[rows, :, index] += change()
    return value


def _mlp_edits(w: TransformerWeights, layer: int, changes: list[Change]) -> dict[str, Any]:
    stream: list[Tensor] = []
    gain, bias = (None if each is None else each[layer] for each in (w.ln2_w, w.ln2_b))

    def keep(value: Tensor) -> Tensor:
        stream[:] = [value]
        return value

    def normalise(value: Tensor) -> Tensor:
        for rows, change in changes:
            value[rows] = w.normalise(stream[0][rows] + change(), gain, bias)
        return value

    return {resid_mid_name(layer): keep, f"blocks.{layer}.ln2": normalise}
