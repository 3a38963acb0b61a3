"""Linear centred kernel alignment against what it cannot see and what it must."""

import pytest
import torch

from interp.errors import InputError
from interp.units import linear_cka


def drawn(n, d, seed):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_rotation_a_factor_and_a_shift_change_nothing():
    x = drawn(20, 5, 0)
    rotation = torch.linalg.qr(drawn(5, 5, 1))[0]
    assert linear_cka(x, 3 * x @ rotation + 7) == pytest.approx(1)


def test_it_is_the_squared_correlation_of_single_numbers():
    x, y = drawn(30, 1, 0), drawn(30, 1, 1) + drawn(30, 1, 0)
    correlation = float(torch.corrcoef(torch.stack([x[:, 0], y[:, 0]]))[0, 1])
    assert linear_cka(x, y) == pytest.approx(correlation**2)


def test_orthogonal_features_of_other_numbers_are_not_alike():
    basis = torch.linalg.qr(torch.cat([torch.ones(8, 1, dtype=torch.float64), drawn(8, 4, 2)], 1))[0]
    assert linear_cka(basis[:, 1:3], basis[:, 3:]) == pytest.approx(0, abs=1e-12)
    assert linear_cka(basis[:, 1:3], basis[:, 2:4]) == pytest.approx(1 / 2), "one of two directions is shared"


def test_images_count_as_all_their_numbers():
    x, y = drawn(9, 8, 3), drawn(9, 8, 4)
    assert linear_cka(x.view(9, 2, 2, 2), y) == pytest.approx(linear_cka(x, y))


def test_what_cannot_be_compared_is_one_clear_line():
    with pytest.raises(InputError, match="got 3 and 4"):
        linear_cka(drawn(3, 2, 0), drawn(4, 2, 0))
    with pytest.raises(InputError, match="must be finite and vary"):
        linear_cka(drawn(3, 2, 0), torch.ones(3, 2))
