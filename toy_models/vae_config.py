"""What a variational autoencoder is made of; no torch import."""

from dataclasses import dataclass

from toy_models.config import check_field_types
from toy_models.errors import InputError
from toy_models.layer_kinds import ActivationKind
from toy_models.vector_config import check_not_negative, check_sizes


@dataclass(frozen=True)
class VAEConfig:
    """Vector -> a normal distribution over a few latent units -> the same vector.

    Raises `InputError` when made, if no model can be built from the values; the message says which value and why.
    """

    d_in: int = 64
    """Numbers that the model reads and gives back, each between 0 and 1; of an image, its pixels."""
    widths: tuple[int, ...] = (128,)
    """Units of the encoder's hidden layers; the decoder has them in reverse."""
    d_latent: int = 8
    """Latent units."""
    variational: bool = True
    """Whether latent units are drawn in training and held near a standard normal, or (a plain autoencoder) neither."""
    activation: ActivationKind = "relu"
    """Of the hidden units."""
    init_scale: float = 1.0
    """Factor on the initial weights."""

    def __post_init__(self) -> None:
        check_field_types(self)
        check_sizes(self, "d_in", "d_latent")
        if self.widths and min(self.widths) < 1:
            raise InputError(f"widths must each be at least 1, got {self.widths}")
        check_not_negative(self, "init_scale")
