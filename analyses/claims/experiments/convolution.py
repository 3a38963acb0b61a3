"""A convolutional layer is a linear map with most entries zero and the rest shared, and moves with its input."""

import torch
from torch import Tensor, nn

from analyses.claims.claim import Arm, Claim, Row
from analyses.claims.experiments.identities import exact
from interp import record
from interp.units import convolution_matrix
from toy_models.image_config import Padding
from toy_models.mlp import MLP
from toy_models.vector_config import MLPConfig
from toy_models.vision import ConvNet, ConvNetConfig
from toy_models.vision.data import digits

SIZE, FILTERS, IMAGES = 8, 16, 64


def as_a_matrix(seed: int, device: str, budget: float) -> Row:
    """The first convolution of a net on digits against its dense matrix, and against that of its flipped filters."""
    net = a_conv_net(seed, "zeros")
    conv, images = next(module for module in net.modules() if isinstance(module, nn.Conv2d)), sample(seed)
    found = convolution_matrix(conv, SIZE, SIZE)
    dense = nn.Linear(SIZE * SIZE, FILTERS * SIZE * SIZE)
    expected = record(net, images, names="blocks.0.layer.hook_pre")["blocks.0.layer.hook_pre"].flatten(1)
    given = images.flatten(1) @ found.matrix + found.bias
    with torch.no_grad():
        conv.weight.copy_(conv.weight.flip(2, 3))
    flipped = convolution_matrix(conv, SIZE, SIZE)
    by_formula = FILTERS * (3 * 3 + 1)
    return {
        "error": float((given - expected).abs().max()),
        "flipped": float((images.flatten(1) @ flipped.matrix + flipped.bias - expected).abs().max()),
        "parameters off": float(abs(found.parameters - by_formula)),
        "dense parameters off": float(abs(sum(p.numel() for p in dense.parameters()) - by_formula)),
        "parameters": float(found.parameters),
        "dense parameters": float(found.dense_parameters),
        "share of entries not 0": found.nonzero_share,
    }


def equivariance(seed: int, device: str, budget: float) -> Row:
    """How far responses to shifted images are from shifted responses: two convolutions, and two dense layers."""
    images = sample(seed)
    shifted = images.roll((1, 1), (2, 3))
    row: Row = {}
    for padding in ("circular", "zeros"):
        net, name = a_conv_net(seed, padding), "blocks.1.layer.hook_post"
        moved = record(net, images, names=name)[name].roll((1, 1), (2, 3))
        missed = (record(net, shifted, names=name)[name] - moved).abs()
        row[f"{padding}, inside"] = float(missed[:, :, 3:-2, 3:-2].max())  # two 3 x 3 filters, and the pixel moved by
        row[f"{padding}, border"] = float(missed.max())
    dense = MLP(MLPConfig(d_in=SIZE * SIZE, widths=(SIZE * SIZE, SIZE * SIZE)), generator(seed)).double()
    name = "blocks.1.hook_post"
    as_image = [record(dense, x, names=name)[name].view(-1, 1, SIZE, SIZE) for x in (images, shifted)]
    row["dense"] = float((as_image[1] - as_image[0].roll((1, 1), (2, 3))).abs().max())
    return row


def a_conv_net(seed: int, padding: Padding) -> ConvNet:
    """Two convolutions of 3 x 3 without pooling, in float64."""
    config = ConvNetConfig(size=SIZE, widths=(FILTERS, FILTERS), pool="none", padding=padding)
    return ConvNet(config, generator(seed)).double()


def sample(seed: int) -> Tensor:
    """Some digits, in float64."""
    images = digits().images.double()
    return images[torch.randperm(len(images), generator=generator(seed))[:IMAGES]]


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


CLAIMS = (
    Claim(
        name="convolution-is-a-shared-linear-map",
        numbers=(1,),
        statement="A convolutional net replaces linear layers by convolutions: local linear maps with shared weights.",
        source="LeCun et al. 1989, Backpropagation Applied to Handwritten Zip Code Recognition",
        arms={"matrix": Arm(as_a_matrix), "shifted digits": Arm(equivariance)},
        comparisons=(
            exact("matrix", "largest |convolution - dense matrix|", "matrix", "error", 1e-6, wrong="flipped"),
            exact(
                "parameters",
                "|parameters learnt - filters (9 + 1)|",
                "matrix",
                "parameters off",
                0.0,
                wrong="dense parameters off",
            ),
            exact(
                "shifts, without border",
                "largest |response to shifted - shifted response|",
                "shifted digits",
                "circular, border",
                1e-6,
                wrong="dense",
            ),
            exact(
                "shifts, inside a border of zeros",
                "largest |response to shifted - shifted response|",
                "shifted digits",
                "zeros, inside",
                1e-6,
                wrong="zeros, border",
            ),
        ),
        why="Filters turned by 180 degrees make another map; a dense layer of the same shape learns a weight for each "
        "entry and does not move with its input; a border of zeros breaks it at the border.",
        trained=False,
    ),
)
