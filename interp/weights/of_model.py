"""The weights of a transformer as one frozen view, its normalisation folded away where that is exact."""

import dataclasses
from typing import Any

import torch

from interp.weights.folding import fold as fold_normalization
from interp.weights.reading import read_weights
from interp.weights.view import TransformerWeights


def weights_of(model: Any, fold: bool = True, dtype: torch.dtype | None = None) -> TransformerWeights:
    """A frozen copy of the weights of a `toy_models.Transformer` or a TransformerLens `TransformerBridge`.

    Bridges are read that are native, or wrap GPT-2, GPT-NeoX (Pythia), Llama, Mistral, Qwen2 or Gemma of Hugging Face:
    rotary positions, grouped keys and values (each head gets its own copy), gated and parallel MLPs included. The
    context ends where a sliding window of attention does.

    With `fold`, the gains, biases and centring of the normalisation are moved into the neighbouring weights, so that
    only a scale per position remains (see `interp.weights.folding.fold`); `folded` of the result says what was done.
    `dtype` converts before folding: float64 gives identities to rounding error.

    Raises `InputError` for other models, for architectures and options whose weights mean something else, for weights
    that are not finite (naming the tensor), and where shortformer positions meet a gain of 0, which makes folding
    impossible.
    """
    w = read_weights(model)
    w = w if dtype is None else w.to(dtype)
    if fold:
        return fold_normalization(w)
    remains = "nothing" if w.normalization == "none" else w.normalization
    return dataclasses.replace(w, folded=(f"Nothing was folded: {remains} stands before every read, gains included.",))
