"""What the models that read vectors are made of: frozen dataclasses that refuse what cannot work; no torch import."""

import math
from dataclasses import dataclass
from typing import Any

from toy_models.config import check_field_types
from toy_models.errors import InputError
from toy_models.layer_kinds import ActivationKind, NormKind


@dataclass(frozen=True)
class MLPConfig:
    """Layers of linear map, normalisation, activation and dropout, then one linear map to the output.

    Raises `InputError` when made, if no model can be built from the values; the message says which value and why.
    """

    d_in: int = 64
    """Numbers that the model reads; of an image, its pixels."""
    widths: tuple[int, ...] = (128, 128)
    """Units of each hidden layer; none gives a linear model."""
    d_out: int = 10
    """Numbers that it gives: logits of classes, or values."""
    activation: ActivationKind = "relu"
    """After each hidden layer."""
    norm: NormKind = "none"
    """Between a hidden layer's linear map and its activation."""
    norm_eps: float = 1e-5
    """Added under the square root of the normalisation."""
    dropout: float = 0.0
    """Share of each hidden layer's units that is left out in training."""
    input_dropout: float = 0.0
    """Share of the input that is left out in training."""
    init_scale: float = 1.0
    """Factor on the initial weights."""

    def __post_init__(self) -> None:
        check_field_types(self)
        check_sizes(self, "d_in", "d_out")
        if self.widths and min(self.widths) < 1:
            raise InputError(f"widths must each be at least 1, got {self.widths}")
        check_shares(self, "dropout", "input_dropout")
        check_not_negative(self, "norm_eps", "init_scale")


@dataclass(frozen=True)
class DropoutAutoencoderConfig:
    """Vector -> hidden units, some of them left out in training -> the same vector.

    Raises `InputError` when made, if no model can be built from the values; the message says which value and why.
    """

    d_in: int = 64
    """Numbers that the model reads and gives back."""
    d_hidden: int = 256
    """Hidden units."""
    dropout: float = 0.5
    """Share of the hidden units that is left out in training."""
    activation: ActivationKind = "relu"
    """Of the hidden units."""
    init_scale: float = 1.0
    """Factor on the initial weights."""

    def __post_init__(self) -> None:
        check_field_types(self)
        check_sizes(self, "d_in", "d_hidden")
        check_shares(self, "dropout")
        check_not_negative(self, "init_scale")


@dataclass(frozen=True)
class SuperpositionConfig:
    """Features squeezed into fewer dimensions and read out again (Elhage et al. 2022, Toy Models of Superposition).

    Raises `InputError` when made, if no model can be built from the values; the message says which value and why.
    """

    n_features: int = 5
    """Numbers that the model reads and gives back."""
    d_hidden: int = 2
    """Dimensions in between."""
    init_scale: float = 1.0
    """Factor on the initial weights."""

    def __post_init__(self) -> None:
        check_field_types(self)
        check_sizes(self, "n_features", "d_hidden")
        check_not_negative(self, "init_scale")


def check_sizes(config: Any, *names: str) -> None:
    """`InputError` naming the first field that is below 1."""
    for name in names:
        if getattr(config, name) < 1:
            raise InputError(f"{name} must be at least 1, got {getattr(config, name)}")


def check_shares(config: Any, *names: str) -> None:
    """`InputError` naming the first field that does not lie in [0, 1)."""
    for name in names:
        if not 0 <= getattr(config, name) < 1:
            raise InputError(f"{name} must be 0 or above and below 1, got {getattr(config, name)}")


def check_not_negative(config: Any, *names: str) -> None:
    """`InputError` naming the first field that is negative, infinite or NaN."""
    for name in names:
        if not 0 <= getattr(config, name) < math.inf:
            raise InputError(f"{name} must be 0 or above, got {getattr(config, name)}")
