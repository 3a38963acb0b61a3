"""What the models of the shelf are trained on: frozen dataclasses that refuse what cannot work; no torch import."""

from dataclasses import dataclass
from typing import Any, Literal

from toy_models.config import check_field_types
from toy_models.errors import InputError
from toy_models.vector_config import check_sizes

LARGEST = 1024
"""Height and width, in pixels, above which no image is trained on."""


@dataclass(frozen=True)
class DigitsConfig:
    """The 1,797 handwritten digits that come with scikit-learn.

    Raises `InputError` when made, if the values cannot work.
    """

    kind: Literal["digits"] = "digits"
    size: int = 8
    """Height and width of the images; other than 8 they are interpolated."""
    held_out: float = 0.2
    """Share of each class that is not trained on."""
    n_train: int | None = None
    """So many training images, of all classes together, are used; None for all."""

    def __post_init__(self) -> None:
        check_image_data(self)

    @property
    def channels(self) -> int:
        return 1

    @property
    def pixels(self) -> int:
        """Numbers in an image."""
        return self.size**2


@dataclass(frozen=True)
class FolderConfig:
    """Images of a folder with one sub-folder for each class.

    Raises `InputError` when made, if the values cannot work.
    """

    kind: Literal["folder"] = "folder"
    path: str = "."
    """The folder."""
    size: int = 32
    """Height and width that the images are brought to."""
    channels: int = 3
    """1 reads them in grey, 3 in colour."""
    held_out: float = 0.2
    """Share of each class that is not trained on."""
    n_train: int | None = None
    """So many training images, of all classes together, are used; None for all."""

    def __post_init__(self) -> None:
        check_image_data(self)
        if self.channels not in (1, 3):
            raise InputError(f"channels must be 1 for grey images or 3 for colour, got {self.channels}")

    @property
    def pixels(self) -> int:
        """Numbers in an image."""
        return self.channels * self.size**2


@dataclass(frozen=True)
class FeaturesConfig:
    """Sparse features, each 0 with probability `sparsity`, else uniform in [0, 1] (Elhage et al. 2022).

    Raises `InputError` when made, if the values cannot work.
    """

    kind: Literal["features"] = "features"
    n_features: int = 5
    """Numbers in an example."""
    sparsity: float = 0.9
    """Probability that a feature is 0."""
    importance: float = 1.0
    """Feature i counts importance ** i in the loss."""
    n_held_out: int = 4096
    """Examples that the loss is measured on, drawn once."""

    def __post_init__(self) -> None:
        check_field_types(self)
        check_sizes(self, "n_features", "n_held_out")
        if not 0 <= self.sparsity < 1:
            raise InputError(f"sparsity must be 0 or above and below 1, got {self.sparsity}")
        if not 0 < self.importance <= 1:
            raise InputError(f"importance must be above 0 and at most 1, got {self.importance}")


def check_image_data(config: Any) -> None:
    """`InputError` naming the first field of image data that cannot work."""
    check_field_types(config)
    check_sizes(config, "size")
    if config.size > LARGEST:
        raise InputError(f"size must be at most {LARGEST}, got {config.size}")
    if not 0 < config.held_out < 1:
        raise InputError(f"held_out must lie between 0 and 1, got {config.held_out}")
    if config.n_train is not None and config.n_train < 2:
        raise InputError(f"n_train must be at least 2, got {config.n_train}")
