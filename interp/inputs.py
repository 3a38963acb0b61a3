"""What callers confuse most often: a model for its weights, a list for tokens, a seed for a generator; said at once."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

from interp.errors import InputError
from interp.weights.view import TransformerWeights

P = ParamSpec("P")
R = TypeVar("R")


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """The same function, that raises `InputError` before it starts where an argument is plainly of another kind.

    By the names that arguments have everywhere in this package: `w` and `weights` are `TransformerWeights`, `tokens`,
    `clean` and `corrupted` tensors of whole numbers, `generator` is a `torch.Generator`. None passes where it may.
    """
    names = tuple(name for name in inspect.signature(function).parameters if name in CHECKS)
    places = {name: place for place, name in enumerate(inspect.signature(function).parameters)}

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        for name in names:
            value = args[places[name]] if places[name] < len(args) else kwargs.get(name)
            if value is not None:
                CHECKS[name](name, value)
        return function(*args, **kwargs)

    return call


def check_weights(name: str, value: Any) -> None:
    if not isinstance(value, TransformerWeights):
        raise InputError(f"{name} must be the weights of a model, got {kind(value)}: pass weights_of(model)")


def check_tokens(name: str, value: Any) -> None:
    if not isinstance(value, Tensor):
        raise InputError(f"{name} must be a tensor [batch pos], got {kind(value)}: pass torch.tensor(...)")
    if value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
        raise InputError(f"{name} must be whole numbers, got {value.dtype}: pass {name}.long()")


def check_generator(name: str, value: Any) -> None:
    if not isinstance(value, torch.Generator):
        seed = value if isinstance(value, int) else 0
        raise InputError(
            f"{name} must be a torch.Generator, got {kind(value)}: pass torch.Generator().manual_seed({seed})"
        )


def kind(value: Any) -> str:
    return f"{type(value).__name__} {value!r}" if isinstance(value, int | float | str) else f"a {type(value).__name__}"


CHECKS: dict[str, Callable[[str, Any], None]] = {
    "w": check_weights,
    "weights": check_weights,
    "tokens": check_tokens,
    "clean": check_tokens,
    "corrupted": check_tokens,
    "generator": check_generator,
}
