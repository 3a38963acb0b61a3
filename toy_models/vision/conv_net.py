"""A convolutional net, read top to bottom: convolutions with activation and pooling, then a linear map.

Names, on every model of the shelf: `hook_pre` what a linear map or convolution gives, `hook_norm` the same normalised,
`hook_post` after the activation, `hook_pool` after pooling, `hook_logits`. The axis that indexes filters is `unit`.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from toy_models.hook_point import HookPoint
from toy_models.image_config import ConvNetConfig, Padding
from toy_models.layer_kinds import ActivationKind, NormKind
from toy_models.layers import ACTIVATIONS, Dropout, initialise, make_norm
from toy_models.vision.images import check_images

IMAGE = "batch unit y x"


class ConvNet(nn.Module):
    """`model(images)` gives logits [batch class]; images are [batch channel y x]. Weights come from `generator`."""

    def __init__(self, config: ConvNetConfig, generator: torch.Generator | None = None):
        super().__init__()
        self.config = config
        shapes = zip((config.channels, *config.widths), config.widths, strict=False)
        self.blocks = nn.ModuleList(Block(config, *shape) for shape in shapes)
        left = config.size if config.pool == "none" else config.size >> len(config.widths)
        self.hook_pooled = HookPoint("batch unit" if config.average else IMAGE)
        self.read_units = config.widths[-1] * (1 if config.average else left * left)
        self.dropout = Dropout(config.dropout, "batch unit")
        self.classify = nn.Linear(self.read_units, config.n_classes)
        self.hook_logits = HookPoint("batch class")
        initialise(self, config.activation, config.init_scale, generator, last=self.classify)

    def forward(self, images: Float[Tensor, "batch channel y x"]) -> Float[Tensor, "batch class"]:
        check_images(images, self.config.channels, self.config.size)
        x = images
        for block in self.blocks:
            x = block(x)
        x = self.hook_pooled(x.mean((2, 3)) if self.config.average else x)
        return self.hook_logits(self.classify(self.dropout(x.flatten(1))))


class Block(nn.Module):
    """Convolution, normalisation, activation, pooling."""

    def __init__(self, config: ConvNetConfig, units_in: int, units: int):
        super().__init__()
        self.layer = ConvLayer(
            units_in,
            units,
            config.kernel,
            norm=config.norm,
            eps=config.norm_eps,
            activation=config.activation,
            padding=config.padding,
        )
        self.pool = config.pool
        if config.pool != "none":
            self.hook_pool = HookPoint(IMAGE)

    def forward(self, x: Float[Tensor, "batch unit_in y_in x_in"]) -> Float[Tensor, "batch unit y x"]:
        x = self.layer(x)
        if self.pool == "none":
            return x
        return self.hook_pool(F.max_pool2d(x, 2) if self.pool == "max" else F.avg_pool2d(x, 2))


class ConvLayer(nn.Module):
    """A convolution that keeps the image's size (or halves it, stride 2), its normalisation and its activation."""

    def __init__(
        self,
        units_in: int,
        units: int,
        kernel: int,
        *,
        norm: NormKind,
        eps: float,
        activation: ActivationKind | None = None,
        stride: int = 1,
        padding: Padding = "zeros",
    ):
        super().__init__()
        self.conv = nn.Conv2d(units_in, units, kernel, stride, kernel // 2, bias=norm == "none", padding_mode=padding)
        self.hook_pre = HookPoint(IMAGE)
        self.norm = make_norm(norm, units, IMAGE, eps)
        if norm != "none":
            self.hook_norm = HookPoint(IMAGE)
        self.normalises, self.activation = norm != "none", activation
        if activation is not None:
            self.hook_post = HookPoint(IMAGE)

    def forward(self, x: Float[Tensor, "batch unit_in y_in x_in"]) -> Float[Tensor, "batch unit y x"]:
        x = self.hook_pre(self.conv(x))
        if self.normalises:
            x = self.hook_norm(self.norm(x))
        return x if self.activation is None else self.hook_post(ACTIVATIONS[self.activation](x))
