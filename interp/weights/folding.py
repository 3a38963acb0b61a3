"""Moves gains, biases and centring into the neighbouring weights, where that is exact."""

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import InputError
from interp.weights.reading import check_finite
from interp.weights.view import TransformerWeights


def fold(w: TransformerWeights) -> TransformerWeights:
    """The same function with as little as possible before each read; computed in float64, returned in w's precision.

    - Gain g and bias b of a normalisation go into what reads it: `W <- diag(g) W`, `b_W <- b_W + b W`.
    - LN's centring goes into what writes: every vector added to the residual stream has its mean over d_model removed,
      so the stream has mean 0 and x - mean(x) = x. The remaining normalisation is a scale only, that of RMSPre.
    - Shortformer positions are added after the normalisation, so they are divided by each layer's gain:
      `(N g + p) W_Q = (N + p / g) diag(g) W_Q`. A shared table would be wrong.

    Raises `InputError` when shortformer positions meet a gain of 0, which cannot be divided by.
    """
    if w.normalization == "none":
        return dataclasses.replace(w, folded=("The model has no normalisation: nothing to fold, nothing remains.",))
    folded, said = w, []
    if w.normalization in ("LN", "RMS"):
        folded, sentences = fold_gains(folded)
        said += sentences
    if w.normalization in ("LN", "LNPre"):
        folded = centre_writing(folded)
        said.append(
            f"The centring of {w.normalization} is in everything that writes ({', '.join(writers(w))}): the "
            "residual stream has mean 0 over d_model."
        )
    said.append(
        "What remains is one positive scale per position and read: x / sqrt(mean(x²) + norm_eps), so circuits from "
        "tokens or positions hold up to that factor."
    )
    folded = dataclasses.replace(folded, normalization="RMSPre", folded=tuple(said))
    check_finite({f"{name} (after folding)": tensor for name, tensor in folded.tensors().items()})
    return folded


def exactly(formula: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """The formula computed in float64, one tensor at a time so that no second copy of all weights is ever held."""
    return formula(*(tensor.double() for tensor in tensors)).to(tensors[0].dtype)


def fold_gains(w: TransformerWeights) -> tuple[TransformerWeights, list[str]]:
    changed: dict[str, Any] = {}
    said = []
    if w.ln1_w is not None:
        for x in ("Q", "K", "V"):
            changed |= folded_read(w, f"W_{x}", f"b_{x}", "lm,lhmd->lhd", w.ln1_w[:, None, :, None], w.ln1_b)
        said.append("Gain and bias before attention are in W_Q, W_K, W_V and b_Q, b_K, b_V.")
    if w.W_pos_attn is not None and w.ln1_w is not None:
        changed["W_pos_attn"] = exactly(divided_positions, w.W_pos_attn, w.ln1_w)
        said.append("Shortformer positions are divided by each layer's gain, for they are added after it.")
    if w.W_in is not None and w.ln2_w is not None:
        names = [("W_in", "b_in"), *([("W_gate", "b_gate")] if w.W_gate is not None else [])]
        for matrix, bias in names:
            changed |= folded_read(w, matrix, bias, "lm,lmu->lu", w.ln2_w[:, :, None], w.ln2_b)
        said.append(f"Gain and bias before the MLP are in {', '.join(name for pair in names for name in pair)}.")
    if w.ln_final_w is not None:
        changed |= folded_read(w, "W_U", "b_U", "m,mv->v", w.ln_final_w[:, None], w.ln_final_b)
        untied = " W_U is therefore no longer W_E^T." if w.tied else ""
        said.append(f"The final gain and bias are in W_U and b_U.{untied}")
    changed |= dict.fromkeys(("ln1_w", "ln1_b", "ln2_w", "ln2_b", "ln_final_w", "ln_final_b"))
    return dataclasses.replace(w, **changed), said


def folded_read(
    w: TransformerWeights, matrix: str, bias: str, product: str, gain: Tensor, shift: Tensor | None
) -> dict[str, Tensor]:
    """A matrix that reads N(x) gain + shift, and its bias, as they read N(x)."""
    W, b = getattr(w, matrix), getattr(w, bias)
    read = {matrix: exactly(lambda W, g: g * W, W, gain)}
    if shift is not None:
        read[bias] = exactly(lambda b, s, W: b + torch.einsum(product, s, W), b, shift, W)
    return read


def divided_positions(
    table: Float[Tensor, "layer n_ctx d_model"], gain: Float[Tensor, "layer d_model"]
) -> Float[Tensor, "layer n_ctx d_model"]:
    if bool((gain == 0).any()):
        layer, unit = (gain == 0).nonzero()[0].tolist()
        raise InputError(
            f"the gain before attention in layer {layer} is 0 at unit {unit}: shortformer positions cannot be divided "
            "by it, so this model's gains cannot be folded; use weights_of(model, fold=False)"
        )
    return table / gain[:, None, :]


def writers(w: TransformerWeights) -> list[str]:
    """Names of the tensors whose last axis is added to the residual stream."""
    return [name for name in ("W_E", "W_pos", "W_O", "b_O", "W_out", "b_out") if getattr(w, name) is not None]


def centre_writing(w: TransformerWeights) -> TransformerWeights:
    centred: dict[str, Any] = {
        name: exactly(lambda x: x - x.mean(-1, keepdim=True), getattr(w, name)) for name in writers(w)
    }
    return dataclasses.replace(w, **centred)
