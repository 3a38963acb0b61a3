"""All handmade models by name."""

import difflib
from collections.abc import Callable, Mapping
from typing import Any

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
from toy_models.handmade.options import all_options, check_kind, own_options, read_option
from toy_models.handmade.skip_trigram import skip_trigram
from toy_models.handmade.suppression import copy_suppression

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
    "copy_suppression": copy_suppression,
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
    builder = find(name)
    kinds, own = all_options(builder), own_options(builder)
    for key, value in options.items():
        if key not in kinds:
            raise InputError(f"{name} has no option {key!r}; it has {', '.join(sorted(kinds))}")
        check_kind(key, value, kinds[key])
    size = Size(**{key: value for key, value in options.items() if key not in own})
    return builder(size, **{key: value for key, value in options.items() if key in own})


def make_from_text(name: str, words: Mapping[str, str], **options: Any) -> Handmade:
    """`make` with the model's own options given as text, besides those of every model.

    `InputError` as in `make`, and for text that names an option of every model.
    """
    kinds = own_options(find(name))
    for key in words:
        if key not in kinds:
            has = f"its own are {', '.join(kinds)}" if kinds else "it has none of its own"
            raise InputError(f"{name} has no option {key!r}; {has}")
    return make(name, **options, **{key: read_option(key, text, kinds[key]) for key, text in words.items()})


def find(name: str) -> Callable[..., Handmade]:
    """The function that builds the model of a name; `InputError` with the nearest names if there is none."""
    if name not in BUILDERS:
        near = difflib.get_close_matches(name, BUILDERS, n=3) or list(BUILDERS)
        raise InputError(f"no handmade model is called {name!r}; try {', '.join(near)}")
    return BUILDERS[name]
