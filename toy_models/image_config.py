"""What the image models are made of: frozen dataclasses that refuse what cannot work; no torch import."""

from dataclasses import dataclass
from typing import Any, Literal

from toy_models.config import check_field_types
from toy_models.errors import InputError
from toy_models.layer_kinds import ActivationKind, NormKind
from toy_models.vector_config import check_not_negative, check_shares

Pool = Literal["none", "max", "average"]
Padding = Literal["zeros", "circular"]
Shortcut = Literal["A", "B", "C"]


@dataclass(frozen=True)
class ConvNetConfig:
    """Convolutions, each with normalisation, activation and pooling, then one linear map to the logits.

    Raises `InputError` when made, if no model can be built from the values; the message says which value and why.
    """

    size: int = 8
    """Height and width of the images, in pixels."""
    channels: int = 1
    """Of the images: 1 for grey ones, 3 for colours."""
    n_classes: int = 10
    """How many classes the logits tell apart."""
    widths: tuple[int, ...] = (16, 32)
    """Filters of each convolution."""
    kernel: int = 3
    """Height and width of a filter; odd, so that the image keeps its size."""
    padding: Padding = "zeros"
    """What lies beyond the border; with circular there is none, and a shifted image gives shifted responses."""
    pool: Pool = "max"
    """Of 2 x 2 pixels, after every convolution."""
    average: bool = False
    """Whether the last responses are averaged over the image before the linear map, or read pixel by pixel."""
    norm: NormKind = "none"
    """Between a convolution and its activation."""
    norm_eps: float = 1e-5
    """Added under the square root of the normalisation."""
    activation: ActivationKind = "relu"
    """After each convolution."""
    dropout: float = 0.0
    """Share of what the linear map reads that is left out in training."""
    init_scale: float = 1.0
    """Factor on the initial weights."""

    def __post_init__(self) -> None:
        check_field_types(self)
        check_image_model(self)
        if not self.widths or min(self.widths) < 1:
            raise InputError(f"widths must name at least one convolution with a filter or more, got {self.widths}")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise InputError(f"kernel must be odd, so that the image keeps its size, got {self.kernel}")
        if self.padding == "circular" and self.kernel // 2 > self.smallest:
            raise InputError(f"circular padding of {self.kernel // 2} is wider than images of {self.smallest} pixels")
        if self.pool != "none" and self.size >> len(self.widths) < 1:
            raise InputError(f"{len(self.widths)} times pooled, nothing is left of images of {self.size} pixels")
        check_shares(self, "dropout")

    @property
    def smallest(self) -> int:
        """Height and width that the last convolution reads."""
        return self.size if self.pool == "none" else self.size >> (len(self.widths) - 1)


@dataclass(frozen=True)
class ResNetConfig:
    """A residual net for small images (He et al. 2015, arXiv:1512.03385, section 4.2), or its plain counterpart.

    A convolution, then a stage of blocks for each width; every stage after the first halves the image. `depth` counts
    the layers with weights: 6 n + 2 with basic blocks, 9 n + 2 with bottlenecks, n blocks in each of three stages.
    Raises `InputError` when made, if no model can be built from the values; the message says which value and why.
    """

    size: int = 8
    """Height and width of the images, in pixels."""
    channels: int = 1
    """Of the images: 1 for grey ones, 3 for colours."""
    n_classes: int = 10
    """How many classes the logits tell apart."""
    depth: int = 20
    """Layers with weights, on the way from image to logits."""
    residual: bool = True
    """Whether a block adds what it computes to what it reads, or (a plain net) puts it in its place."""
    block: Literal["basic", "bottleneck"] = "basic"
    """basic: two 3 x 3 convolutions; bottleneck: 1 x 1, 3 x 3, and 1 x 1 to four times the width."""
    shortcut: Shortcut = "A"
    """Where a block changes the shape. A: every second pixel, new filters zero, no weights; B: a 1 x 1 convolution
    there; C: a 1 x 1 convolution in every block."""
    widths: tuple[int, ...] = (16, 32, 64)
    """Filters of each stage's 3 x 3 convolutions."""
    norm: NormKind = "batch"
    """After every convolution."""
    norm_eps: float = 1e-5
    """Added under the square root of the normalisation."""
    init_scale: float = 1.0
    """Factor on the initial weights."""

    def __post_init__(self) -> None:
        check_field_types(self)
        check_image_model(self)
        if not self.widths or min(self.widths) < 1:
            raise InputError(f"widths must name at least one stage with a filter or more, got {self.widths}")
        if self.residual and self.shortcut == "A" and list(self.widths) != sorted(self.widths):
            raise InputError(f"shortcut A adds filters, so widths must not fall, got {self.widths}; use B or C")
        layers = self.layers_per_block * len(self.widths)
        if self.depth < layers + 2 or (self.depth - 2) % layers:
            raise InputError(
                f"depth must be {layers} n + 2 with {len(self.widths)} stages of {self.block} blocks "
                f"({layers + 2}, {2 * layers + 2}, {3 * layers + 2} ...), got {self.depth}"
            )

    @property
    def layers_per_block(self) -> int:
        return 2 if self.block == "basic" else 3

    @property
    def blocks_per_stage(self) -> int:
        return (self.depth - 2) // (self.layers_per_block * len(self.widths))

    @property
    def expansion(self) -> int:
        """How many times its width a block gives out."""
        return 1 if self.block == "basic" else 4


def check_image_model(config: Any) -> None:
    """`InputError` naming the first of the sizes that all image models have which cannot work."""
    for name, lowest in {"size": 1, "channels": 1, "n_classes": 2}.items():
        if getattr(config, name) < lowest:
            raise InputError(f"{name} must be at least {lowest}, got {getattr(config, name)}")
    check_not_negative(config, "norm_eps", "init_scale")
