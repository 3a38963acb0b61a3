"""Handmade models carried through the transforms, their truth with them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from toy_models.handmade.model import Handmade
from toy_models.handmade.transforms import add_idle_heads, add_noise, change_basis, change_head_basis, permute_heads
from toy_models.handmade.truth import Edge, Expected, HeadIndex, Node
from toy_models.transformer import Transformer


def in_another_basis(handmade: Handmade, generator: torch.Generator, condition: float = 100.0) -> Handmade:
    """Residual stream in another basis: raw composition scores move (unless 0), nothing else does but by rounding."""
    model = change_basis(handmade.model, generator, condition=condition)
    kept = tuple(e for e in rounded(handmade, condition) if e.value == 0 or not e.quantity.endswith("-composition"))
    return carried(handmade, model, "The residual stream is in another basis.", expected=kept)


def in_other_head_bases(handmade: Handmade, generator: torch.Generator, condition: float = 10.0) -> Handmade:
    """Heads in other bases: nothing measurable moves but by rounding."""
    model = change_head_basis(handmade.model, generator, condition=condition)
    return carried(handmade, model, "Heads are in other bases.", expected=rounded(handmade, condition))


@torch.no_grad()
def rounded(handmade: Handmade, condition: float) -> tuple[Expected, ...]:
    """The expected values with the tolerance that they have in a basis of this condition number.

    Numbers then come out of larger ones that cancel: rounding costs eps * condition * size, where size is that of the
    largest score sqrt(d_head)^-1 ||W_E||^2 ||W_QK|| for token matching, else that of the largest logit a head writes,
    ||W_E|| ||W_OV|| ||W_U|| (spectral norms; at least 1).
    """
    model = handmade.model
    reads, writes = (torch.linalg.matrix_norm(m, ord=2) for m in (model.W_E, model.W_U))
    qk = torch.linalg.matrix_norm(model.W_Q @ model.W_K.mT, ord=2) / model.config.d_head**0.5
    ov = torch.linalg.matrix_norm(model.W_V @ model.W_O, ord=2)
    score, logit = (max(float(size.amax()), 1.0) for size in (reads**2 * qk, reads * ov * writes))
    eps = condition * torch.finfo(model.W_E.dtype).eps
    sizes = {"token matching": score}
    return tuple(
        dataclasses.replace(e, tolerance=e.tolerance + eps * sizes.get(e.quantity, logit))
        for e in handmade.truth.expected
    )


def with_heads_permuted(handmade: Handmade, generator: torch.Generator) -> Handmade:
    """Heads of each layer in a random order: the truth names them anew."""
    config = handmade.model.config
    order = torch.stack([torch.randperm(config.n_heads, generator=generator) for _ in range(config.n_layers)])
    return in_order(handmade, order)


def in_order(handmade: Handmade, order: Int[Tensor, "layer head"]) -> Handmade:
    """Head i of a layer was its head `order[layer, i]`."""
    model = permute_heads(handmade.model, order)
    now = {(layer, int(was)): (layer, i) for layer, row in enumerate(order) for i, was in enumerate(row)}
    truth = handmade.truth
    return carried(
        handmade,
        model,
        "Heads are permuted.",
        roles={now[head]: role for head, role in truth.roles.items()},
        edges=frozenset(Edge(renamed(e.source, now), renamed(e.target, now), e.channel) for e in truth.edges),
        expected=tuple(dataclasses.replace(e, at=tuple(now[head] for head in e.at)) for e in truth.expected),
    )


def renamed(node: Node, now: Mapping[HeadIndex, HeadIndex]) -> Node:
    return node if isinstance(node, str) else now[node]


def with_idle_heads(handmade: Handmade, extra: int = 1) -> Handmade:
    """More heads in every layer, of zeros."""
    model = add_idle_heads(handmade.model, extra)
    config = handmade.model.config
    added = {(layer, config.n_heads + i): "idle" for layer in range(config.n_layers) for i in range(extra)}
    remark = f"{extra} idle head{'s' * (extra > 1)} added to each layer."
    return carried(handmade, model, remark, roles={**handmade.truth.roles, **added})


def with_noise(handmade: Handmade, generator: torch.Generator, scale: float) -> Handmade:
    """Noise on the weights: roles and edges stay what was meant, no value is promised any more."""
    model = add_noise(handmade.model, scale, generator)
    return carried(handmade, model, f"Noise of {scale:g} on the weights.", expected=())


def carried(handmade: Handmade, model: Transformer, remark: str, **changes: Any) -> Handmade:
    summary = f"{handmade.truth.summary} {remark}"
    return dataclasses.replace(
        handmade, model=model, truth=dataclasses.replace(handmade.truth, summary=summary, **changes)
    )
