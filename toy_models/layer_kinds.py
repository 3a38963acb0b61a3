"""Names of activations and normalisations; no torch import, so that configs need none."""

from typing import Literal

ActivationKind = Literal["relu", "gelu", "sigmoid", "tanh", "identity"]
NormKind = Literal["none", "batch", "layer"]
