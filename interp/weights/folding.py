"""Moves gains, biases and centring into the neighbouring weights, where that is exact."""

import dataclasses
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
    exact, said = w.to(torch.float64), []
    if w.normalization in ("LN", "RMS"):
        exact, sentences = fold_gains(exact)
        said += sentences
    if w.normalization in ("LN", "LNPre"):
        exact = centre_writing(exact)
        said.append(
            f"The centring of {w.normalization} is in everything that writes ({', '.join(writers(exact))}): the "
            "residual stream has mean 0 over d_model."
        )
    said.append(
        "What remains is one positive scale per position and read: x / sqrt(mean(x²) + norm_eps), so circuits from "
        "tokens or positions hold up to that factor."
    )
    folded = dataclasses.replace(exact, normalization="RMSPre", folded=tuple(said)).to(w.dtype)
    check_finite({f"{name} (after folding)": tensor for name, tensor in folded.tensors().items()})
    return folded


def fold_gains(w: TransformerWeights) -> tuple[TransformerWeights, list[str]]:
    changed: dict[str, Any] = {}
    said = []
    if w.ln1_w is not None:
        gain = w.ln1_w[:, None, :, None]
        for x in ("Q", "K", "V"):
            W = getattr(w, f"W_{x}")
            changed[f"W_{x}"] = gain * W
            if w.ln1_b is not None:
                changed[f"b_{x}"] = getattr(w, f"b_{x}") + torch.einsum("lm,lhmd->lhd", w.ln1_b, W)
        said.append("Gain and bias before attention are in W_Q, W_K, W_V and b_Q, b_K, b_V.")
    if w.W_pos_attn is not None and w.ln1_w is not None:
        changed["W_pos_attn"] = divided_positions(w.W_pos_attn, w.ln1_w)
        said.append("Shortformer positions are divided by each layer's gain, for they are added after it.")
    if w.W_in is not None and w.b_in is not None and w.ln2_w is not None:
        changed["W_in"] = w.ln2_w[:, :, None] * w.W_in
        if w.ln2_b is not None:
            changed["b_in"] = w.b_in + torch.einsum("lm,lmu->lu", w.ln2_b, w.W_in)
        said.append("Gain and bias before the MLP are in W_in and b_in.")
    if w.ln_final_w is not None:
        changed["W_U"] = w.ln_final_w[:, None] * w.W_U
        if w.ln_final_b is not None:
            changed["b_U"] = w.b_U + w.ln_final_b @ w.W_U
        untied = " W_U is therefore no longer W_E^T." if w.tied else ""
        said.append(f"The final gain and bias are in W_U and b_U.{untied}")
    changed |= dict.fromkeys(("ln1_w", "ln1_b", "ln2_w", "ln2_b", "ln_final_w", "ln_final_b"))
    return dataclasses.replace(w, **changed), said


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
    centred = {name: getattr(w, name) - getattr(w, name).mean(-1, keepdim=True) for name in writers(w)}
    return dataclasses.replace(w, **centred)
