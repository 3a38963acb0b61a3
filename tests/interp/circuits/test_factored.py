import pytest
import torch

from interp.circuits import Factored
from interp.errors import InputError


def factored(*shape, generator, dtype=torch.float64):
    *batch, m, r, n = shape
    return Factored(
        torch.randn(*batch, m, r, generator=generator, dtype=dtype),
        torch.randn(*batch, r, n, generator=generator, dtype=dtype),
    )


def close(a, b, tolerance=1e-11):
    assert a.shape == b.shape
    return float((a - b).abs().max()) <= tolerance


SHAPES = [(9, 3, 9), (2, 3, 9, 3, 9), (4, 7, 4), (2, 3, 5, 3)]


@pytest.mark.parametrize("shape", SHAPES)
def test_everything_equals_the_dense_matrix(shape, generator):
    f = factored(*shape, generator=generator)
    dense = f.A @ f.B
    assert f.shape == dense.shape
    assert f.rank == shape[-2]
    assert close(f.dense(), dense)
    assert close(f.T.dense(), dense.mT)
    assert close(f.trace(), dense.diagonal(dim1=-2, dim2=-1).sum(-1))
    assert close(f.diagonal(), dense.diagonal(dim1=-2, dim2=-1))
    assert close(f.norm(), torch.linalg.matrix_norm(dense))
    k = min(shape[-2:])
    assert close(f.singular_values(), torch.linalg.svdvals(dense)[..., :k])
    row, column = torch.tensor([2, 0, 2]), torch.tensor([1, 2, 2])
    assert close(f.rows(row), dense[..., row, :])
    assert close(f.entries(row, column), dense[..., row, column])


@pytest.mark.parametrize("shape", SHAPES)
def test_eigenvalues_are_those_of_the_dense_matrix_without_its_certain_zeros(shape, generator):
    f = factored(*shape, generator=generator)
    expected = torch.linalg.eigvals(f.dense())
    found = f.eigenvalues()
    assert found.shape[-1] == min(shape[-2:])
    assert bool((found.abs().diff(dim=-1) <= 1e-9).all())
    for power in range(1, 5):  # power sums determine the eigenvalues
        assert close((found**power).sum(-1), (expected**power).sum(-1), 1e-8 * float(expected.abs().max()) ** power)


def test_diagonal_of_a_wide_matrix_is_that_of_the_dense_one(generator):
    f = factored(4, 2, 6, generator=generator)
    assert close(f.diagonal(), f.dense().diagonal())
    assert close(f.T.diagonal(), f.dense().diagonal())


def test_products_equal_dense_products_and_keep_the_smaller_rank(generator):
    thin, wide = factored(5, 2, 6, generator=generator), factored(6, 4, 7, generator=generator)
    assert close((thin @ wide).dense(), thin.dense() @ wide.dense())
    assert close((wide.T @ thin.T).dense(), wide.dense().T @ thin.dense().T)
    assert (thin @ wide).rank == (wide.T @ thin.T).rank == 2
    matrix = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    assert close((thin @ matrix).dense(), thin.dense() @ matrix)
    assert close((matrix @ wide).dense(), matrix @ wide.dense())
    assert close((thin - thin @ matrix).dense(), thin.dense() - thin.dense() @ matrix)


def test_a_batch_is_indexed_and_broadcast(generator):
    heads, one = factored(2, 3, 5, 2, 5, generator=generator), factored(5, 2, 5, generator=generator)
    assert close(heads[1, 2].dense(), heads.dense()[1, 2])
    assert close(heads[1].dense(), heads.dense()[1])
    mixed = Factored(heads.A, one.B)
    assert mixed.batch == (2, 3)
    assert close(mixed[0, 1].dense(), heads.A[0, 1] @ one.B)
    assert mixed.eigenvalues().shape == mixed.singular_values().shape == (2, 3, 2)
    assert close((heads @ one).dense(), heads.dense() @ one.dense())
    assert close((heads - one).dense(), heads.dense() - one.dense())
    with pytest.raises(InputError, match="3 indices"):
        heads[0, 1, 2]


@pytest.mark.parametrize("dtype, nudge, tolerance", [(torch.float64, 1e-10, 1e-5), (torch.float32, 1e-4, 1e-2)])
def test_norm_of_a_product_that_nearly_cancels_keeps_its_digits(dtype, nudge, tolerance, generator):
    a = torch.randn(8, 1, generator=generator, dtype=dtype)
    b = torch.randn(1, 6, generator=generator, dtype=dtype)
    nothing = Factored(torch.cat([a, a], dim=1), torch.cat([b, -b], dim=0))
    assert float(nothing.norm()) <= 10 * torch.finfo(dtype).eps * float(a.norm() * b.norm())
    little = Factored(nothing.A, nothing.B + nudge * torch.eye(2, 6, dtype=dtype))
    assert float(little.norm()) == pytest.approx(nudge * 2**0.5 * float(a.norm()), rel=tolerance)


def test_float32_factors_keep_float32_answers_with_float64_inside(generator):
    f = factored(50, 4, 50, generator=generator)
    single = f.to(torch.float32)
    assert single.norm().dtype == single.singular_values().dtype == torch.float32
    assert float(single.norm()) == pytest.approx(float(f.norm()), rel=1e-6)
    assert single.eigenvalues().dtype == torch.complex128


def test_shapes_that_do_not_fit_are_refused(generator):
    with pytest.raises(InputError, match=r"got \[2, 3\] and \[2, 3\]"):
        Factored(torch.zeros(2, 3), torch.zeros(2, 3))
    with pytest.raises(InputError, match=r"got \[2\] and \[3\]"):
        Factored(torch.zeros(2, 3, 1), torch.zeros(3, 1, 4))
    wide = factored(3, 2, 4, generator=generator)
    for call in (wide.trace, wide.eigenvalues):
        with pytest.raises(InputError, match="square matrix, got 3 x 4"):
            call()
