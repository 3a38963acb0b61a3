"""The matrix of a convolution against the convolution, and against its definition in plain loops."""

import pytest
import torch
from torch import nn

from interp.errors import InputError
from interp.units import convolution_matrix

OPTIONS = [
    {"padding": 1},
    {"padding": 0, "bias": False},
    {"padding": 1, "stride": 2},
    {"padding": 1, "padding_mode": "circular"},
    {"padding": 2, "dilation": 2, "groups": 2},
]


def a_convolution(channels=2, filters=4, kernel=3, **options):
    torch.manual_seed(0)
    return nn.Conv2d(channels, filters, kernel, **options).double()


@pytest.mark.parametrize("options", OPTIONS)
def test_multiplying_by_the_matrix_is_convolving(options):
    conv = a_convolution(**options)
    found, images = convolution_matrix(conv, 5, 6), torch.randn(3, 2, 5, 6, dtype=torch.float64)
    assert torch.allclose(images.flatten(1) @ found.matrix + found.bias, conv(images).flatten(1), atol=1e-12)


def test_every_entry_is_the_weight_that_its_offset_picks_or_zero():
    conv = a_convolution(channels=1, filters=1, padding=1)
    matrix, weight = convolution_matrix(conv, 4, 4).matrix.view(4, 4, 4, 4), conv.weight[0, 0].detach()
    for y, x, v, u in torch.ones(4, 4, 4, 4).nonzero().tolist():
        dy, dx = y - v + 1, x - u + 1
        expected = weight[dy, dx] if 0 <= dy < 3 and 0 <= dx < 3 else 0
        assert float(matrix[y, x, v, u]) == pytest.approx(float(expected), abs=1e-12)


def test_a_convolution_learns_a_share_of_what_a_linear_map_of_its_shape_would():
    found = convolution_matrix(a_convolution(channels=1, filters=2, padding=1), 4, 4)
    assert found.parameters == 2 * 9 + 2
    assert found.dense_parameters == 16 * 32 + 32
    inside, edges, corners = 4 * 9, 8 * 6, 4 * 4
    assert found.nonzero_share == (inside + edges + corners) / 16 / 16


def test_what_is_no_convolution_or_too_small_for_it_is_one_clear_line():
    with pytest.raises(InputError, match=r"reads a torch\.nn\.Conv2d, got Linear"):
        convolution_matrix(nn.Linear(2, 2), 4, 4)
    with pytest.raises(InputError, match="cannot read images of 2 x 2"):
        convolution_matrix(a_convolution(padding=0), 2, 2)
