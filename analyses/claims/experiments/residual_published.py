"""Multiply-adds of published nets on 224 x 224 images, by arithmetic, and the figures printed for them."""

from typing import Literal

Block = Literal["basic", "bottleneck"]
Stages = tuple[int, int, int, int]

PRINTED = {34: 3.6e9, 50: 3.8e9, 101: 7.6e9, 152: 11.3e9}
"""FLOPs of residual nets by depth (He et al. 2015, table 1)."""
STAGES: dict[int, Stages] = {34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
PARAMETERS = {20: 0.27, 32: 0.46, 44: 0.66, 56: 0.85, 110: 1.7, 1202: 19.4}
"""Millions, of the nets for CIFAR-10 by depth (table 6)."""
VGG_16 = (2, 2, 3, 3, 3)
VGG_19 = (2, 2, 4, 4, 4)
"""Convolutions of each stage (Simonyan and Zisserman 2014, arXiv:1409.1556)."""


def layers_in(stages: Stages, block: Block) -> int:
    """Layers with weights: those of the blocks, the first convolution and the last linear map."""
    return (2 if block == "basic" else 3) * sum(stages) + 2


def residual_products(stages: Stages, block: Block, widths: tuple[int, ...] = (64, 128, 256, 512)) -> int:
    """Of a residual net with projections where the shape changes; a bottleneck's first convolution has the stride."""
    grow = 1 if block == "basic" else 4
    total, units, pixels = 49 * 3 * 64 * 112**2, 64, 56**2
    for stage, (n, width) in enumerate(zip(stages, widths, strict=True)):
        pixels //= 4 if stage else 1
        for _ in range(n):
            total += block_weights(units, width, block) * pixels
            total += units * width * grow * pixels if units != width * grow else 0
            units = width * grow
    return total + units * 1000


def block_weights(units_in: int, width: int, block: Block) -> int:
    """Weights of a block's convolutions: two of 3 x 3, or 1 x 1, 3 x 3, and 1 x 1 to four times the width."""
    if block == "basic":
        return 9 * units_in * width + 9 * width * width
    return units_in * width + 9 * width * width + width * 4 * width


def vgg_products(convolutions: tuple[int, ...]) -> int:
    """Of a net of 3 x 3 convolutions in five stages, the image halved after each, then three linear maps."""
    total, units, pixels = 0, 3, 224**2
    for n, width in zip(convolutions, (64, 128, 256, 512, 512), strict=True):
        for _ in range(n):
            total += 9 * units * width * pixels
            units = width
        pixels //= 4
    return total + units * pixels * 4096 + 4096 * 4096 + 4096 * 1000
