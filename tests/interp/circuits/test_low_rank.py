import pytest
import torch

from interp.circuits import Factored, concentration, full_qk, low_rank, ranks
from interp.circuits.low_rank import random_twin, row_shares
from interp.errors import InputError
from interp.weights import weights_of
from tests.reference_transformer import random_model
from toy_models.config import TransformerConfig


def with_spectrum(sigma, n, generator):
    """A table with these singular values and random directions."""
    sigma = torch.tensor(sigma, dtype=torch.float64)
    sides = [torch.linalg.qr(torch.randn(n, len(sigma), generator=generator, dtype=torch.float64)).Q for _ in range(2)]
    return Factored(sides[0] * sigma, sides[1].T)


def test_equal_singular_values_count_alike_in_every_rank(generator):
    found = ranks(with_spectrum([2.0] * 7, 30, generator))
    assert (found.bound, found.numerical) == (7, 7)
    for effective in (found.stable, found.entropy, found.participation):
        assert effective == pytest.approx(7, abs=1e-9)


def test_ranks_are_those_of_the_dense_table_by_their_definitions(generator):
    table = with_spectrum([4.0, 2.0, 1.0, 0.0], 25, generator)
    found = ranks(table)
    assert (found.bound, found.numerical) == (4, 3)
    assert found.numerical == int(torch.linalg.matrix_rank(table.dense()))
    assert torch.allclose(found.singular_values, torch.linalg.svdvals(table.dense())[:4], rtol=0, atol=1e-9)
    assert found.stable == pytest.approx(21 / 16, abs=1e-9)
    assert found.participation == pytest.approx(21**2 / (256 + 16 + 1), abs=1e-9)
    p = torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64) / 7
    assert found.entropy == pytest.approx(float((-(p * p.log()).sum()).exp()), abs=1e-9)


def test_a_table_of_zeros_has_no_rank_and_one_of_noise_in_float32_no_more_than_it_holds(generator):
    nothing = ranks(Factored(torch.zeros(6, 3), torch.zeros(3, 6)))
    assert (nothing.numerical, nothing.stable, nothing.entropy, nothing.participation) == (0, 0, 0, 0)
    one = with_spectrum([1.0, 1e-9], 40, generator)
    assert ranks(one).numerical == 2
    assert ranks(one.to(torch.float32)).numerical == 1


def test_a_full_qk_circuit_is_low_rank_and_not_sparse(generator):
    config = TransformerConfig(n_layers=1, n_heads=2, d_model=24, d_head=6, d_vocab=150, n_ctx=9, positions="none")
    table = full_qk(weights_of(random_model(config)), (0, 1))
    assert ranks(table).numerical == 6
    found = concentration(table, generator, rows=150)
    assert found.entries.mean == pytest.approx(found.random.mean, abs=0.03)
    assert 0.3 < found.entries.mean < 0.5
    assert (found.entries.low, found.entries.high) == (found.entries.mean,) * 2


def test_a_sparse_table_of_full_rank_is_told_from_its_dense_twin(generator):
    identity = Factored(torch.eye(100), torch.eye(100))
    found = concentration(identity, generator, rows=100)
    assert found.entries.mean == pytest.approx(0.01)
    assert ranks(identity).numerical == 100
    assert found.random.mean > 0.35


@pytest.mark.parametrize("tile", [1, 700, 2**20])
def test_the_share_of_entries_is_the_shortest_prefix_of_the_sorted_row(tile, generator, monkeypatch):
    monkeypatch.setattr(low_rank, "TILE", tile)
    table = with_spectrum([3.0, 2.0, 1.0], 40, generator)
    found = row_shares(table, 0.8, 40, generator)
    for row, share in zip(table.dense().square(), found, strict=True):
        best = sorted(row.tolist(), reverse=True)
        needed = next(k for k in range(1, 41) if sum(best[:k]) >= 0.8 * sum(best))
        assert float(share) == needed / 40


def test_gaussian_entries_need_44_percent_for_nine_tenths_of_their_mass(generator):
    table = Factored(torch.eye(300), torch.randn(300, 300, generator=generator))
    assert float(row_shares(table, 0.9, 300, generator).mean()) == pytest.approx(0.4446, abs=0.006)


def test_a_sample_of_rows_is_given_with_its_interval(generator):
    table = with_spectrum([5.0, 3.0, 1.0, 1.0], 400, generator)
    whole = concentration(table, generator, rows=400).entries
    sample = concentration(table, torch.Generator().manual_seed(1), rows=60).entries
    assert sample.n == 60
    assert whole.method == "all rows"
    assert sample.low < whole.mean < sample.high
    assert sample.high - sample.low < 0.05


def test_a_random_twin_has_the_same_singular_values_in_other_directions(generator):
    table = with_spectrum([5.0, 3.0, 1.0], 50, generator)
    twin = random_twin(table, generator)
    assert torch.allclose(twin.singular_values(), table.singular_values(), rtol=0, atol=1e-9)
    assert float((twin.dense() * table.dense()).sum() / table.norm() ** 2) < 0.3


def test_a_row_of_zeros_needs_no_entry(generator):
    assert row_shares(Factored(torch.zeros(3, 1), torch.ones(1, 3)), 0.9, 3, generator).tolist() == [0.0] * 3


def test_tables_that_cannot_be_read_are_refused(generator):
    batch, nan = (
        Factored(torch.ones(2, 3, 1), torch.ones(1, 3)),
        Factored(torch.full((3, 1), torch.nan), torch.ones(1, 3)),
    )
    for function in (ranks, lambda table: concentration(table, generator)):
        with pytest.raises(InputError, match="batch"):
            function(batch)
        with pytest.raises(InputError, match="not finite"):
            function(nan)
    fine = Factored(torch.ones(3, 1), torch.ones(1, 3))
    for wrong in ({"share": 1.0}, {"rows": 1}, {"draws": 1}):
        with pytest.raises(InputError, match="0 < share < 1, and 2 rows and draws"):
            concentration(fine, generator, **wrong)
