"""Options of the handmade models: which there are, of what kind, and how they are read from text."""

import types
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin, get_type_hints

from toy_models.errors import InputError
from toy_models.handmade.blocks import Size
from toy_models.handmade.skip_trigram import Table


def own_options(builder: Callable[..., Any]) -> dict[str, Any]:
    """Names and types of the options that one model has and others have not."""
    return {key: kind for key, kind in get_type_hints(builder).items() if key not in ("size", "return")}


def all_options(builder: Callable[..., Any]) -> dict[str, Any]:
    """Names and types of a model's options, those of `Size` first."""
    return get_type_hints(Size) | own_options(builder)


def check_kind(key: str, value: Any, kind: Any) -> None:
    """`InputError` unless a number or a word is of the kind that an option asks for."""
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise InputError(f"{key} must be one of {', '.join(map(repr, get_args(kind)))}, got {value!r}")
    elif number := number_kind(kind):
        allowed = (int, float) if number is float else (int,)
        if isinstance(value, bool) or not isinstance(value, allowed):
            raise InputError(f"{key} must be {'a number' if number is float else 'a whole number'}, got {value!r}")


def read_option(key: str, text: str, kind: Any) -> Any:
    """The value that a text stands for; a text that is no such number stays as it is, for `check_kind` to refuse.

    A table of skip-trigrams is written "keep in mind, keep at bay"; `InputError` if an entry is not of three words.
    """
    if kind == Table:
        entries = [tuple(entry.split()) for entry in text.split(",")]
        if any(len(entry) != 3 for entry in entries):
            raise InputError(f"{key} must hold entries of three words, as in 'keep in mind, keep at bay', got {text!r}")
        return tuple(entries)
    number = number_kind(kind)
    if number is None:
        return text
    try:
        return number(text)
    except ValueError:
        return text


def number_kind(kind: Any) -> type[int] | type[float] | None:
    """Which of int and float a type asks for, with or without None; None for other types."""
    kinds = get_args(kind) if get_origin(kind) is types.UnionType else (kind,)
    return float if float in kinds else int if int in kinds else None
