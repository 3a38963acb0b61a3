"""The Fréchet distance against closed forms, made by construction."""

import pytest
import torch

from interp.errors import InputError
from interp.stats import frechet_distance


def drawn(n=40, d=5):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_a_set_is_at_no_distance_from_itself_and_a_shifted_one_at_its_shift_squared():
    x = drawn()
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-10)
    shift = torch.tensor([3.0, 4.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    assert frechet_distance(x, x + shift) == pytest.approx(25)


def test_covariances_that_commute_differ_by_the_roots_of_their_eigenvalues():
    x = drawn()
    x = torch.linalg.qr(x - x.mean(0)).Q * (len(x) - 1) ** 0.5  # mean 0, covariance 1
    scales = torch.tensor([1.0, 2.0, 3.0, 0.0, 1.5], dtype=torch.float64)
    assert frechet_distance(x, x * scales) == pytest.approx(float((1 - scales).square().sum()))


def test_covariances_that_do_not_commute_follow_the_matrix_root():
    from scipy.linalg import sqrtm

    x, y = drawn()[:20], drawn()[20:] @ torch.diag(torch.tensor([1.0, 2, 3, 4, 5], dtype=torch.float64))
    root = torch.from_numpy(sqrtm((torch.cov(x.T) @ torch.cov(y.T)).numpy()).real)
    spread = torch.cov(x.T).trace() + torch.cov(y.T).trace() - 2 * root.trace()
    expected = float((x.mean(0) - y.mean(0)).square().sum() + spread)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-8)
    assert frechet_distance(y, x) == pytest.approx(expected, rel=1e-8)


def test_one_vector_or_nan_is_refused():
    with pytest.raises(InputError, match="other has 1"):
        frechet_distance(drawn(), drawn(1))
    with pytest.raises(InputError, match="1 of 10 values of one"):
        frechet_distance(torch.tensor([[0.0] * 5, [float("nan")] + [0.0] * 4]), drawn())
