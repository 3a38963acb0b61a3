"""The weights of a transformer as one frozen view, its normalisation folded away where that is exact."""

import dataclasses
from typing import Any

import torch

from interp.weights.folding import fold as fold_normalization
from interp.weights.reading import read_weights
from interp.weights.view import TransformerWeights


def weights_of(model: Any, fold: bool = True, dtype: torch.dtype | None = None) -> TransformerWeights:
    """A frozen copy of the weights of a `toy_models.Transformer` or a native TransformerLens `TransformerBridge`.

    With `fold`, the gains, biases and centring of the normalisation are moved into the neighbouring weights, so that
    only a scale per position remains (see `interp.weights.folding.fold`); `folded` of the result says what was done.
    `dtype` converts before folding: float64 gives identities to rounding error.

    Raises `InputError` for other models, for architectures whose weights mean something else (shared keys and values,
    parallel blocks, gated MLPs ...), for weights that are not finite (naming the tensor), and where shortformer
    positions meet a gain of 0, which makes folding impossible.
    """
    w = read_weights(model)
    w = w if dtype is None else w.to(dtype)
    if fold:
        return fold_normalization(w)
    remains = "nothing" if w.normalization == "none" else w.normalization
    return dataclasses.replace(w, folded=(f"Nothing was folded: {remains} stands before every read, gains included.",))
