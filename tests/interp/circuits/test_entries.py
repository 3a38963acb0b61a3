import pytest
import torch

from interp.circuits import Factored, entries, top_entries, top_per_row
from interp.circuits.entries import dense_tiles, largest_in_rows, strengths
from interp.errors import InputError


def random_table(m, rank, n, generator):
    return Factored(
        torch.randn(m, rank, generator=generator, dtype=torch.float64),
        torch.randn(rank, n, generator=generator, dtype=torch.float64),
    )


@pytest.mark.parametrize("magnitude", [False, True])
@pytest.mark.parametrize("m, n, tile", [(7, 7, 1), (40, 23, 60), (23, 40, 1000), (300, 500, 4000), (1000, 1000, 2**20)])
def test_top_entries_are_those_of_the_dense_table_at_any_size_and_tile(m, n, tile, magnitude, generator):
    table = random_table(m, 5, n, generator)
    dense = table.dense()
    for k in (1, 13, 49):
        found = top_entries(table, k, magnitude, tile)
        order = (dense.abs() if magnitude else dense).flatten().argsort(descending=True)[:k]
        assert found.row.tolist() == (order // n).tolist()
        assert found.column.tolist() == (order % n).tolist()
        assert torch.allclose(found.value, dense.flatten()[order], rtol=0, atol=1e-9)


@pytest.mark.parametrize("magnitude", [False, True])
@pytest.mark.parametrize("m, n, tile", [(7, 7, 1), (40, 23, 60), (30, 1000, 7000), (30, 2049, 2**20)])
def test_top_entries_of_each_row_are_those_of_the_dense_rows(m, n, tile, magnitude, generator):
    table = random_table(m, 5, n, generator)
    dense = table.dense()
    for k in (1, 3, 7):
        found = top_per_row(table, k, magnitude, tile)
        order = (dense.abs() if magnitude else dense).argsort(-1, descending=True)[:, :k]
        assert torch.equal(found.column, order)
        assert torch.allclose(found.value, dense.gather(-1, order), rtol=0, atol=1e-9)


def test_long_rows_are_cut_into_groups_and_the_columns_left_over_count(generator):
    n = 64 * 8 + 3
    dense = torch.rand(2, n, generator=generator, dtype=torch.float64)
    dense[0, n - 1], dense[1, 64 * 8 - 1], dense[1, 5] = 9.0, 8.0, -10.0
    assert n // entries.GROUP >= 4 * 2
    assert largest_in_rows(dense, 2).column[:, 0].tolist() == [n - 1, 64 * 8 - 1]
    assert largest_in_rows(dense, 2, magnitude=True).column[1].tolist() == [5, 64 * 8 - 1]


@pytest.mark.parametrize("tile", [1, 100, 2**20])
def test_strengths_are_the_largest_magnitudes_of_rows_and_columns(tile, generator):
    table = random_table(30, 3, 20, generator)
    by_row, by_column = strengths(table, tile)
    assert torch.allclose(by_row, table.dense().abs().amax(1), rtol=0, atol=1e-9)
    assert torch.allclose(by_column, table.dense().abs().amax(0), rtol=0, atol=1e-9)


def test_equal_entries_are_all_found_once_in_reading_order():
    table = Factored(torch.ones(6, 1), torch.ones(1, 5))
    found = top_entries(table, 30, tile=5)
    assert list(zip(found.row.tolist(), found.column.tolist(), strict=True)) == [
        (row, column) for row in range(6) for column in range(5)
    ]
    assert found.value.tolist() == [1.0] * 30
    assert top_entries(Factored(torch.eye(9), torch.eye(9)), 3, tile=27).row.tolist() == [0, 1, 2]
    rows = top_per_row(table, 9, tile=5)
    assert rows.column.sort(-1).values.tolist() == [list(range(5))] * 6


def test_rows_that_cannot_hold_a_larger_entry_are_never_sorted(monkeypatch):
    sorted_rows = []
    true_rank_by = entries.rank_by
    monkeypatch.setattr(entries, "rank_by", lambda x, m: sorted_rows.append(x.shape) or true_rank_by(x, m))
    falling = Factored(torch.arange(100.0, 0, -1)[:, None], torch.ones(1, 10))
    top_entries(falling, 10, tile=10)
    assert [shape for shape in sorted_rows if len(shape) == 2] == [(1, 10)]


def test_tiles_are_wrapped_and_never_hold_more_than_asked(generator):
    table, seen = random_table(50, 2, 20, generator), []
    found = top_entries(table, 3, tile=100, progress=lambda tiles: [seen.append(len(tile)) or tile for tile in tiles])
    assert seen == [5] * 10
    assert torch.equal(found.value, top_entries(table, 3).value)
    sizes = [dense.numel() for _, dense in dense_tiles(table, 100)]
    assert max(sizes) <= 100
    assert sum(sizes) == 1000


def test_chosen_rows_come_in_their_order(generator):
    table, rows = random_table(9, 2, 4, generator), torch.tensor([7, 0, 3])
    parts = [(index.clone(), dense.clone()) for index, dense in dense_tiles(table, 8, rows=rows)]
    assert torch.equal(torch.cat([index for index, _ in parts]), rows)
    assert torch.allclose(torch.cat([dense for _, dense in parts]), table.dense()[rows])


@pytest.mark.parametrize("function", [top_entries, top_per_row])
def test_tables_without_entries_to_rank_are_refused(function):
    with pytest.raises(InputError, match="k=0"):
        function(Factored(torch.ones(3, 1), torch.ones(1, 3)), 0)
    with pytest.raises(InputError, match="one matrix"):
        function(Factored(torch.ones(2, 3, 1), torch.ones(1, 3)), 1)
    with pytest.raises(InputError, match="not finite"):
        function(Factored(torch.full((3, 1), torch.nan), torch.ones(1, 3)), 1)
