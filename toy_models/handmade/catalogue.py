"""All handmade models by name."""

import difflib
import types
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin, get_type_hints

from toy_models.errors import InputError
from toy_models.handmade.blocks import Size
from toy_models.handmade.chains import three_layer_chain, two_back
from toy_models.handmade.controls import random_weights, untrained
from toy_models.handmade.decoys import (
    anti_copying,
    literal_current,
    literal_previous,
    no_copy,
    positional,
    unread_previous_token,
)
from toy_models.handmade.heads import current_token, duplicate_token, first_token_sink, previous_token, shift_by
from toy_models.handmade.induction import induction_both, induction_k, induction_q, induction_shared, induction_smeared
from toy_models.handmade.model import Handmade
from toy_models.handmade.skip_trigram import skip_trigram

BUILDERS: dict[str, Callable[..., Handmade]] = {
    "previous_token": previous_token,
    "shift_by": shift_by,
    "current_token": current_token,
    "first_token_sink": first_token_sink,
    "duplicate_token": duplicate_token,
    "skip_trigram": skip_trigram,
    "induction_k": induction_k,
    "induction_q": induction_q,
    "induction_both": induction_both,
    "induction_shared": induction_shared,
    "induction_smeared": induction_smeared,
    "two_back": two_back,
    "three_layer_chain": three_layer_chain,
    "unread_previous_token": unread_previous_token,
    "no_copy": no_copy,
    "anti_copying": anti_copying,
    "literal_previous": literal_previous,
    "literal_current": literal_current,
    "positional": positional,
    "random_weights": random_weights,
    "untrained": untrained,
}


def names() -> tuple[str, ...]:
    """What `make` can make."""
    return tuple(BUILDERS)


def make(name: str, **options: Any) -> Handmade:
    """The handmade model of a name.

    Options of every model: `d_vocab` (16), `n_ctx` (34), `sharpness` (40), `gain` (12) and `dtype` (float64); some
    have their own. `InputError` on an unknown name or option, or a value that cannot work.
    """
    if name not in BUILDERS:
        near = difflib.get_close_matches(name, BUILDERS, n=3) or list(BUILDERS)
        raise InputError(f"no handmade model is called {name!r}; try {', '.join(near)}")
    of_size, own = get_type_hints(Size), get_type_hints(BUILDERS[name])
    kinds = {key: kind for key, kind in (of_size | own).items() if key not in ("size", "return")}
    for key, value in options.items():
        if key not in kinds:
            raise InputError(f"{name} has no option {key!r}; it has {', '.join(sorted(kinds))}")
        check_kind(key, value, kinds[key])
    size = Size(**{key: value for key, value in options.items() if key in of_size})
    return BUILDERS[name](size, **{key: value for key, value in options.items() if key not in of_size})


def check_kind(key: str, value: Any, kind: Any) -> None:
    """`InputError` unless a number or a word is of the kind that an option asks for."""
    kinds = get_args(kind) if get_origin(kind) is types.UnionType else (kind,)
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise InputError(f"{key} must be one of {', '.join(map(repr, get_args(kind)))}, got {value!r}")
    elif int in kinds or float in kinds:
        allowed = tuple(kinds) + ((int,) if float in kinds else ())
        if isinstance(value, bool) or not isinstance(value, allowed):
            what = "a number" if float in kinds else "a whole number"
            raise InputError(f"{key} must be {what}, got {value!r}")
