"""Transformers whose circuit is known, because their weights were set by hand.

    handmade = make("induction_k")
    handmade.model(handmade.example_tokens)     # an ordinary Transformer
    handmade.truth.roles[0, 0]                  # "previous-token"

`make(name, d_vocab=64, n_ctx=128)` gives a larger one; `names()` lists them. Module `variants` carries model and truth
through the changes of `transforms`: another basis, permuted or idle heads, noise.
"""

from toy_models.handmade.blocks import Size
from toy_models.handmade.catalogue import make, make_from_text, names
from toy_models.handmade.model import Handmade, repeated_tokens
from toy_models.handmade.truth import ROLES, Edge, Expected, Truth

__all__ = [
    "ROLES",
    "Edge",
    "Expected",
    "Handmade",
    "Size",
    "Truth",
    "make",
    "make_from_text",
    "names",
    "repeated_tokens",
]
