"""A residual net, read top to bottom, and its plain counterpart (He et al. 2015, arXiv:1512.03385).

Each block computes F(x) by two or three convolutions and gives relu(shortcut(x) + F(x)), or relu(F(x)) in a plain net.
`hook_norm` (without normalisation `hook_pre`) of a block's last layer is F(x) before the addition, whose standard
deviation the paper's figure 7 compares; `hook_shortcut` is what it is added to, `hook_add` the sum.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from toy_models.hook_point import HookPoint
from toy_models.image_config import ResNetConfig
from toy_models.layers import initialise
from toy_models.vision.conv_net import IMAGE, ConvLayer
from toy_models.vision.images import check_images


class ResNet(nn.Module):
    """`model(images)` gives logits [batch class]; images are [batch channel y x]. Weights come from `generator`."""

    def __init__(self, config: ResNetConfig, generator: torch.Generator | None = None):
        super().__init__()
        self.config = config
        self.stem = ConvLayer(
            config.channels, config.widths[0], 3, norm=config.norm, eps=config.norm_eps, activation="relu"
        )
        self.blocks = nn.ModuleList(blocks_of(config))
        self.hook_pooled = HookPoint("batch unit")
        self.classify = nn.Linear(config.widths[-1] * config.expansion, config.n_classes)
        self.hook_logits = HookPoint("batch class")
        initialise(self, "relu", config.init_scale, generator, last=self.classify)

    def forward(self, images: Float[Tensor, "batch channel y x"]) -> Float[Tensor, "batch class"]:
        check_images(images, self.config.channels, self.config.size)
        x = self.stem(images)
        for block in self.blocks:
            x = block(x)
        return self.hook_logits(self.classify(self.hook_pooled(x.mean((2, 3)))))


def blocks_of(config: ResNetConfig) -> list["Block"]:
    """All blocks in order; the first of every stage but the first halves the image."""
    made, units = [], config.widths[0]
    for stage, width in enumerate(config.widths):
        for index in range(config.blocks_per_stage):
            stride = 2 if stage and not index else 1
            made.append(Block(config, units, width, stride))
            units = width * config.expansion
    return made


class Block(nn.Module):
    """relu(shortcut(x) + F(x))."""

    def __init__(self, config: ResNetConfig, units_in: int, width: int, stride: int):
        super().__init__()
        self.layers = nn.ModuleList(layers_of(config, units_in, width, stride))
        self.residual = config.residual
        if config.residual:
            units, self.stride = width * config.expansion, stride
            self.projects = config.shortcut == "C" or (config.shortcut == "B" and (units_in, 1) != (units, stride))
            if self.projects:
                self.project = ConvLayer(units_in, units, 1, norm=config.norm, eps=config.norm_eps, stride=stride)
            self.new_units = units - units_in
            self.hook_shortcut = HookPoint(IMAGE)
            self.hook_add = HookPoint(IMAGE)
        self.hook_post = HookPoint(IMAGE)

    def forward(self, x: Float[Tensor, "batch unit_in y_in x_in"]) -> Float[Tensor, "batch unit y x"]:
        computed = x
        for layer in self.layers:
            computed = layer(computed)
        if self.residual:
            computed = self.hook_add(self.hook_shortcut(self.shortcut(x)) + computed)
        return self.hook_post(torch.relu(computed))

    def shortcut(self, x: Float[Tensor, "batch unit_in y_in x_in"]) -> Float[Tensor, "batch unit y x"]:
        """x in the shape of F(x): by a convolution, or every `stride`-th pixel, zeros for filters that are new."""
        if self.projects:
            return self.project(x)
        x = x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, 0, self.new_units)) if self.new_units else x


def layers_of(config: ResNetConfig, units_in: int, width: int, stride: int) -> list[ConvLayer]:
    """The convolutions of a block, rectified but for the last; in a bottleneck the 3 x 3 one has the stride."""
    bottleneck = config.block == "bottleneck"
    kernels = (1, 3, 1) if bottleneck else (3, 3)
    strides = (1, stride, 1) if bottleneck else (stride, 1)
    units = (units_in, *(width for _ in kernels[1:]), width * config.expansion)
    last = len(kernels) - 1
    return [
        ConvLayer(
            *shape,
            kernels[index],
            norm=config.norm,
            eps=config.norm_eps,
            activation=None if index == last else "relu",
            stride=strides[index],
        )
        for index, shape in enumerate(pairwise(units))
    ]
