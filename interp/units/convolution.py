"""A convolution as what it is: a linear map with most entries zero and the rest shared."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.errors import InputError


@dataclass(frozen=True, eq=False)
class ConvolutionMatrix:
    """out = x @ matrix + bias for flattened images, in the order unit, y, x on both sides."""

    matrix: Float[Tensor, "d_in d_out"]
    bias: Float[Tensor, " d_out"]
    parameters: int
    """Numbers that the convolution learns."""

    @property
    def dense_parameters(self) -> int:
        """Numbers that a linear map of the same shape would learn."""
        return self.matrix.numel() + self.bias.numel()

    @property
    def nonzero_share(self) -> float:
        """Share of the entries that are not 0."""
        return float((self.matrix != 0).double().mean())


def convolution_matrix(conv: nn.Module, height: int, width: int) -> ConvolutionMatrix:
    """The dense matrix of a convolution on images of height x width pixels (LeCun et al. 1989: local, shared weights).

    Row i is what the convolution makes of the i-th basis image, less its bias, so that strides, padding of any mode,
    dilation and groups are all in it. Raises `InputError` for another module, or images it cannot read.
    """
    if not isinstance(conv, nn.Conv2d):
        raise InputError(f"convolution_matrix reads a torch.nn.Conv2d, got {type(conv).__name__}")
    d_in = conv.in_channels * height * width
    basis = torch.eye(d_in, dtype=conv.weight.dtype, device=conv.weight.device)
    try:
        with torch.no_grad():
            out = conv(basis.view(d_in, conv.in_channels, height, width))
    except RuntimeError as error:
        raise InputError(f"this convolution cannot read images of {height} x {width}: {error}") from error
    bias = out.new_zeros(out.shape[1:])
    if conv.bias is not None:
        bias = bias + conv.bias.detach()[:, None, None]
    parameters = sum(parameter.numel() for parameter in conv.parameters())
    return ConvolutionMatrix((out - bias).flatten(1), bias.flatten(), parameters)
