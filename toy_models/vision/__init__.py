"""Reference models that read images: a plain convolutional net and residual nets."""

from toy_models.image_config import ConvNetConfig, ResNetConfig
from toy_models.vision.conv_net import ConvNet
from toy_models.vision.res_net import ResNet

__all__ = ["ConvNet", "ConvNetConfig", "ResNet", "ResNetConfig"]
