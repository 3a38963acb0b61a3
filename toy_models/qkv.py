"""Queries, keys and values side by side in one tensor, as they are trained, and apart, as they are named and saved.

    W_QKV [3 head d_head d_model]  <->  W_Q, W_K, W_V [head d_model d_head]
    b_QKV [3 head d_head]          <->  b_Q, b_K, b_V [head d_head]

One tensor instead of three makes one matrix product, one gradient and one update of them. Matrices lie transposed in
it, which is how `torch.nn.functional.linear` wants them.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from toy_models.errors import InputError

LETTERS = "QKV"


class NamedQKV(nn.Module):
    """Gives a module that holds `W_QKV` and `b_QKV` the six tensors by name; its state dict has those instead.

    They are views: differentiable functions of the parameters, and what is written into them is written into these.
    """

    W_QKV: nn.Parameter
    b_QKV: nn.Parameter | None

    @property
    def W_Q(self) -> Float[Tensor, "head d_model d_head"]:
        return part(self.W_QKV, "Q")

    @property
    def W_K(self) -> Float[Tensor, "head d_model d_head"]:
        return part(self.W_QKV, "K")

    @property
    def W_V(self) -> Float[Tensor, "head d_model d_head"]:
        return part(self.W_QKV, "V")

    @property
    def b_Q(self) -> Float[Tensor, "head d_head"] | None:
        return None if self.b_QKV is None else part(self.b_QKV, "Q")

    @property
    def b_K(self) -> Float[Tensor, "head d_head"] | None:
        return None if self.b_QKV is None else part(self.b_QKV, "K")

    @property
    def b_V(self) -> Float[Tensor, "head d_head"] | None:
        return None if self.b_QKV is None else part(self.b_QKV, "V")

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        joined: dict[str, Any] = {}
        super()._save_to_state_dict(joined, prefix, keep_vars)
        destination.update(split(joined))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        super()._load_from_state_dict(join(state_dict), prefix, *rest)


def part(tensor: Tensor, letter: str) -> Tensor:
    """Q, K or V of W_QKV or b_QKV: a view, so that what is written into it is written into the whole."""
    one = tensor[LETTERS.index(letter)]
    return one.mT if one.ndim == 3 else one


def split(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Named tensors with W_Q, W_K, W_V in the place of each W_QKV, biases likewise; views, in the same order.

    A number that stands for a whole tensor (an optimiser's count of steps) then stands for each of the three.
    """
    apart: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.endswith(("W_QKV", "b_QKV")):
            stem = name.removesuffix(LETTERS)
            apart |= {stem + letter: part(tensor, letter) if tensor.ndim else tensor.clone() for letter in LETTERS}
        else:
            apart[name] = tensor
    return apart


def join(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Undoes `split`, in new contiguous tensors; `InputError` if one of the three is missing or of another shape."""
    joined = {}
    for name, tensor in tensors.items():
        if not name.endswith(tuple(f"{kind}_{letter}" for kind in "Wb" for letter in LETTERS)):
            joined[name] = tensor
        elif name[:-1] + LETTERS not in joined:
            joined[name[:-1] + LETTERS] = together(tensors, name[:-1])
    return joined


def together(tensors: Mapping[str, Tensor], stem: str) -> Tensor:
    """Q, K and V of the tensors whose names begin with `stem`, as one tensor."""
    names = [stem + letter for letter in LETTERS]
    if missing := [name for name in names if name not in tensors]:
        raise InputError(f"tensor {missing[0]} is missing")
    three = [tensors[name] for name in names]
    if len({tensor.shape for tensor in three}) > 1:
        shapes = ", ".join(str(list(tensor.shape)) for tensor in three)
        raise InputError(f"{', '.join(names)} must have the same shape, got {shapes}")
    if three[0].ndim == 0:
        return three[0]
    return torch.stack([tensor.mT if tensor.ndim == 3 else tensor for tensor in three]).contiguous()
