"""Whether a model looks ahead, and the one line that refuses it where that would make an answer meaningless."""

from typing import Any

from interp.errors import InputError


def attention_dir(model: Any) -> str:
    """causal or bidirectional: of weights, of a model with a config, or of a TransformerLens model with a cfg."""
    for holder in (model, getattr(model, "config", None), getattr(model, "cfg", None)):
        found = getattr(holder, "attention_dir", None)
        if isinstance(found, str):
            return found
    return "causal"


def require_causal(model: Any, what: str) -> None:
    """`InputError` if positions of this model (or of the model of these weights) see the tokens that come next."""
    if attention_dir(model) != "causal":
        raise InputError(
            f"{what} needs a causal model: with attention_dir={attention_dir(model)!r} every position sees the tokens "
            "that it would have to predict"
        )
