"""Where a model normalises, and one such read as a function, with its scale held or free."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from interp import names
from interp.errors import InputError
from interp.inputs import checked
from interp.lens.attribution import final_scale
from interp.weights import TransformerWeights

CENTRED = ("LN", "LNPre")


@dataclass(frozen=True)
class Read:
    """One place that reads the residual stream through a normalisation; layer None for the unembedding."""

    layer: int | None
    by: Literal["attention", "MLP", "unembedding"]

    def __str__(self) -> str:
        return self.by if self.layer is None else f"L{self.layer} {self.by}"

    @property
    def scale_name(self) -> str:
        """The hook point of the scale."""
        return names.scale_name(self.layer, "ln2" if self.by == "MLP" else "ln1")


@checked
def reads_of(w: TransformerWeights) -> tuple[Read, ...]:
    """In the order in which a run comes by; `InputError` for a model without normalisation, which has no scale."""
    if w.normalization == "none":
        raise InputError("the model has no normalisation, so there is no scale to look at")
    found = []
    for layer in range(w.n_layers):
        found += [Read(layer, "attention"), *([Read(layer, "MLP")] if w.W_in is not None else [])]
    return (*found, Read(None, "unembedding"))


@checked
def normalised(
    w: TransformerWeights,
    read: Read,
    x: Float[Tensor, "*rest d_model"],
    scale: Float[Tensor, "*rest"] | None = None,
) -> Float[Tensor, "*rest d_model"]:
    """What the read makes of the residual stream: c(x) / s * gain + bias, c the centring of LN.

    s = sqrt(mean(c(x)²) + norm_eps) of this x (free), or `scale`, one number for each vector (held): then the map is
    affine in x, and linear where there is no bias. Raises `InputError` for a read that the model does not have.
    """
    if read not in reads_of(w):
        raise InputError(f"the model does not read at {read}; it does at {', '.join(map(str, reads_of(w)))}")
    gain, bias = gains(w, read)
    s = final_scale(w, x) if scale is None else scale
    centred = x - x.mean(-1, keepdim=True) if w.normalization in CENTRED else x
    out = centred / s[..., None]
    out = out if gain is None else out * gain
    return out if bias is None else out + bias


def gains(w: TransformerWeights, read: Read) -> tuple[Tensor | None, Tensor | None]:
    """Learned gain and bias of the read, where they are not folded."""
    if read.layer is None:
        return w.ln_final_w, w.ln_final_b
    pair = (w.ln2_w, w.ln2_b) if read.by == "MLP" else (w.ln1_w, w.ln1_b)
    gain, bias = (None if each is None else each[read.layer] for each in pair)
    return gain, bias


def affine_error(
    function: Callable[[Tensor], Tensor],
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "n d"],
    shares: Sequence[float] = (-0.5, 0.25, 0.5, 1.5),
) -> float:
    """How far a map is from affine between pairs of vectors, 0 if it is:

        max_t rms(f(t x + (1 - t) y) - t f(x) - (1 - t) f(y)) / rms(f(x) - f(y))

    Raises `InputError` where f(x) = f(y), so that there is nothing to compare with.
    """
    at_x, at_y = function(x), function(y)
    apart = (at_x - at_y).square().mean().sqrt()
    if float(apart) == 0:
        raise InputError("the map gives the same for x and y: its error cannot be compared with anything")
    gaps = [function(t * x + (1 - t) * y) - t * at_x - (1 - t) * at_y for t in shares]
    return float(torch.stack([gap.square().mean().sqrt() for gap in gaps]).max() / apart)
