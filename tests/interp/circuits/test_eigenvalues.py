"""Eigenvalues of matrices on which the QR iteration can fail."""

import pytest
import torch

from interp.circuits.eigenvalues import eigenvalues

PLAIN = torch.linalg.eigvals


@pytest.fixture
def stubborn(monkeypatch):
    """`torch.linalg.eigvals` that fails on batches which hold one of the given matrices, and says how often it ran."""

    def refuse(*matrices):
        tried = []

        def eigvals(given):
            tried.append(given)
            if any(torch.equal(each, matrix) for each in given.reshape(-1, *given.shape[-2:]) for matrix in matrices):
                raise torch.linalg.LinAlgError("the algorithm failed to converge")
            return PLAIN(given)

        monkeypatch.setattr(torch.linalg, "eigvals", eigvals)
        return tried

    return refuse


@pytest.fixture
def batch(generator):
    """Random matrices, one of them a permutation: the eigenvalues of a cycle of 5 are the fifth roots of 1."""
    made = torch.randn(2, 3, 5, 5, generator=generator, dtype=torch.float64)
    made[1, 2] = torch.eye(5, dtype=torch.float64).roll(1, 0)
    return made


def sorted_values(values):
    order = (values.real * 1000 + values.imag).argsort(dim=-1)
    return values.gather(-1, order)


def test_where_lapack_converges_the_values_are_its_own(batch):
    assert torch.equal(eigenvalues(batch), PLAIN(batch))


@pytest.mark.parametrize("refused", ["the matrix", "its transpose too"])
def test_one_matrix_that_fails_changes_no_value_of_the_batch_beyond_rounding(stubborn, batch, refused):
    cycle = batch[1, 2]
    tried = stubborn(cycle, *([cycle.mT] if refused == "its transpose too" else []))
    found = eigenvalues(batch)
    assert len(tried) > batch[..., 0, 0].numel(), "nothing failed"
    assert torch.allclose(sorted_values(found), sorted_values(PLAIN(batch)), rtol=0, atol=1e-12)
    roots = torch.polar(torch.ones(5, dtype=torch.float64), 2 * torch.pi * torch.arange(5, dtype=torch.float64) / 5)
    assert torch.allclose(sorted_values(found[1, 2]), sorted_values(roots), rtol=0, atol=1e-12)


def test_a_single_matrix_needs_no_batch(stubborn):
    cycle = torch.eye(4, dtype=torch.float64).roll(1, 0)
    stubborn(cycle)
    assert eigenvalues(cycle).shape == (4,)
    assert eigenvalues(cycle).abs().sum() == pytest.approx(4)


def test_what_converges_in_no_form_is_an_error(monkeypatch):
    def never(given):
        raise torch.linalg.LinAlgError("the algorithm failed to converge")

    monkeypatch.setattr(torch.linalg, "eigvals", never)
    with pytest.raises(torch.linalg.LinAlgError, match="failed to converge"):
        eigenvalues(torch.eye(3))
