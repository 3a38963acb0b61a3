import itertools

import pytest
import torch

from interp.circuits import Factored, diagonal_scores, own_contrast, own_ranks
from interp.errors import InputError


def random_table(n, rank, generator):
    return Factored(
        torch.randn(n, rank, generator=generator, dtype=torch.float64),
        torch.randn(rank, n, generator=generator, dtype=torch.float64),
    )


def of(dense):
    return Factored(dense, torch.eye(len(dense), dtype=dense.dtype))


@pytest.mark.parametrize("n, tile", [(6, 1), (40, 130), (200, 3000), (200, 2**20)])
def test_ranks_are_counted_as_in_the_dense_table_at_any_size_and_tile(n, tile, generator):
    table = random_table(n, 4, generator)
    dense = table.dense()
    found = own_ranks(table, tile=tile)
    place = dense.argsort(-1, descending=True) == torch.arange(n)[:, None]
    assert torch.equal(found.rank, place.long().argmax(-1) + 1)
    assert torch.equal(found.row, torch.arange(n))
    top1 = diagonal_scores(table, generator, draws=2).top1.value
    assert found.share(1).mean == pytest.approx(float(top1))
    top5 = (dense.topk(5).indices == torch.arange(n)[:, None]).any(-1).double().mean()
    assert found.share(5).mean == pytest.approx(float(top5))
    assert (found.share(5).low, found.share(5).high) == (found.share(5).mean,) * 2
    assert found.chance(5) == pytest.approx(min(5 / n, 1))


def test_ties_count_against_a_row_as_in_the_score_of_its_diagonal(generator):
    dense = torch.tensor([[2.0, 2.0, 0.0], [0.0, 1.0, 0.0], [3.0, 3.0, 3.0]])
    found = own_ranks(of(dense))
    assert found.rank.tolist() == [2, 1, 3]
    assert found.share(1).mean == float(diagonal_scores(of(dense), generator, draws=2).top1.value) == 1 / 3
    assert found.share(2).mean == 2 / 3


def test_the_mean_share_over_relabellings_is_chance(generator):
    table = random_table(12, 3, generator)
    shares = [
        own_ranks(Factored(table.A, table.B[:, torch.randperm(12, generator=generator)])).share(5).mean
        for _ in range(400)
    ]
    assert sum(shares) / 400 == pytest.approx(own_ranks(table).chance(5), abs=0.025)


def test_a_sample_of_rows_has_their_ranks_and_an_interval_around_the_share(generator):
    table = random_table(300, 6, generator)
    table = Factored(
        torch.cat([table.A, torch.eye(300)[:, :150] * 1.0], dim=1), torch.cat([table.B, torch.eye(300)[:150] * 12])
    )
    whole = own_ranks(table)
    sample = own_ranks(table, rows=80, generator=torch.Generator().manual_seed(2))
    assert len(set(sample.row.tolist())) == 80
    assert torch.equal(sample.rank, whole.rank[sample.row])
    share = sample.share(1)
    assert share.low < whole.share(1).mean < share.high
    assert 0.3 < whole.share(1).mean < 0.7
    assert share.n == 80
    assert torch.equal(own_ranks(table, rows=300, generator=generator).rank, whole.rank)


def test_contrast_and_its_null_are_those_of_all_relabellings(generator):
    table = random_table(5, 3, generator)
    T = table.dense() - table.dense().mean(-1, keepdim=True)
    Z = T / T.square().mean(-1, keepdim=True).sqrt()
    orders = torch.tensor(list(itertools.permutations(range(5))))
    found = own_contrast(table)
    for each, value, null in ((T, found.entry, found.entry_null), (Z, found.deviations, found.deviations_null)):
        over_all = each[torch.arange(5), orders].mean(-1)
        assert value == pytest.approx(float(each.diagonal().mean()), abs=1e-12)
        assert float(over_all.mean()) == pytest.approx(0, abs=1e-12)
        assert null == pytest.approx(float(over_all.std(correction=0)), abs=1e-12)


def test_the_identity_stands_out_by_sqrt_of_its_size(generator):
    found = own_contrast(of(torch.eye(10, dtype=torch.float64)))
    assert found.entry == pytest.approx(0.9)
    assert found.deviations == pytest.approx(3)  # sqrt(n - 1)
    assert found.deviations_null == pytest.approx(1 / 3)


def test_constant_rows_stand_out_by_nothing():
    rows = torch.arange(6.0)[:, None] / 7
    found = own_contrast(Factored(rows, torch.full((1, 6), 0.1)))
    assert (found.deviations, found.deviations_null) == (0, 0)
    assert found.entry == pytest.approx(0, abs=1e-7)
    x = torch.arange(6.0)[None]
    cancelled = own_contrast(Factored(x.T @ torch.tensor([[0.1, 0.3]]), torch.cat([3 * x, -x])))
    assert abs(cancelled.entry) > 0
    assert (cancelled.deviations, cancelled.deviations_null) == (0, 0)


def test_tables_without_a_diagonal_are_refused(generator):
    for function in (own_ranks, own_contrast):
        with pytest.raises(InputError, match="square"):
            function(Factored(torch.ones(3, 1), torch.ones(1, 4)))
        with pytest.raises(InputError, match="batch"):
            function(Factored(torch.ones(2, 3, 1), torch.ones(1, 3)))
        with pytest.raises(InputError, match="not finite"):
            function(Factored(torch.full((3, 1), torch.inf), torch.ones(1, 3)))
    with pytest.raises(InputError, match="1 x 1"):
        own_contrast(of(torch.ones(1, 1)))
    for rows, drawn in ((0, generator), (3, None)):
        with pytest.raises(InputError, match="at least 1 row and a generator"):
            own_ranks(of(torch.eye(4)), rows=rows, generator=drawn)
