import pytest
import torch
from scipy import stats

from interp.circuits import Factored, diagonal_scores
from interp.circuits.diagonal import eigenvalue_share
from interp.errors import InputError


def random_table(n, rank, generator, *batch):
    return Factored(
        torch.randn(*batch, n, rank, generator=generator, dtype=torch.float64),
        torch.randn(*batch, rank, n, generator=generator, dtype=torch.float64),
    )


def identity(n):
    return Factored(torch.eye(n, dtype=torch.float64), torch.eye(n, dtype=torch.float64))


def test_the_identity_matches_perfectly_and_its_negative_not_at_all(generator):
    scores = diagonal_scores(identity(8), generator, draws=50)
    assert float(scores.eigenvalue.value) == pytest.approx(1)
    assert float(scores.cosine.value) == pytest.approx(1)
    assert float(scores.top1.value) == 1
    negative = diagonal_scores(Factored(-identity(8).A, identity(8).B), generator, draws=50)
    assert float(negative.eigenvalue.value) == pytest.approx(-1)
    assert float(negative.cosine.value) == pytest.approx(-1)
    assert float(negative.top1.value) == 0


def test_statistics_equal_their_dense_definitions(generator):
    table = random_table(9, 3, generator, 2)
    scores = diagonal_scores(table, generator, draws=3)
    T = table.dense() - table.dense().mean(-1, keepdim=True)
    for head in range(2):
        eigenvalues = torch.linalg.eigvals(T[head])
        share = eigenvalues.sum().real / eigenvalues.abs().sum()
        assert float(scores.eigenvalue.value[head]) == pytest.approx(float(share), abs=1e-6)
        cosine = T[head].trace() / (T[head].norm() * 8**0.5)
        assert float(scores.cosine.value[head]) == pytest.approx(float(cosine), abs=1e-12)
        own = (T[head].argmax(-1) == torch.arange(9)).double().mean()
        assert float(scores.top1.value[head]) == float(own)


def test_a_factor_that_a_batch_shares_counts_for_each(generator):
    many, one = random_table(7, 2, generator, 3), random_table(7, 2, generator)
    scores = diagonal_scores(Factored(many.A, one.B), torch.Generator().manual_seed(2), draws=5)
    alone = diagonal_scores(Factored(many.A[1], one.B), torch.Generator().manual_seed(2), draws=5)
    assert torch.allclose(scores.eigenvalue.draws[:, 1], alone.eigenvalue.draws)
    assert torch.allclose(scores.cosine.value[1], alone.cosine.value)


def test_draws_are_the_statistics_of_relabelled_tables(generator):
    table = random_table(7, 2, generator)
    seed = torch.Generator().manual_seed(11)
    scores = diagonal_scores(table, seed, draws=2)
    first = torch.randperm(7, generator=torch.Generator().manual_seed(11))
    relabelled = diagonal_scores(Factored(table.A, table.B[:, first]), generator, draws=2)
    for field in ("eigenvalue", "cosine", "top1"):
        drawn, computed = getattr(scores, field).draws[0], getattr(relabelled, field).value
        assert float(drawn) == pytest.approx(float(computed), abs=1e-9)


@pytest.mark.parametrize("n, rank, batch", [(9, 3, ()), (5, 8, (2,)), (6, 6, (2, 3))])
def test_every_draw_is_the_dense_table_with_its_columns_moved(n, rank, batch, generator):
    table = random_table(n, rank, generator, *batch)
    scores = diagonal_scores(table, torch.Generator().manual_seed(5), draws=4)
    seed = torch.Generator().manual_seed(5)
    T = table.dense() - table.dense().mean(-1, keepdim=True)
    for draw in range(4):
        moved = T[..., torch.randperm(n, generator=seed)]
        eigenvalues, diagonal = torch.linalg.eigvals(moved), moved.diagonal(dim1=-2, dim2=-1)
        share = eigenvalues.sum(-1).real / eigenvalues.abs().sum(-1)
        assert torch.allclose(scores.eigenvalue.draws[draw], share, rtol=0, atol=1e-9)
        cosine = diagonal.sum(-1) / (torch.linalg.matrix_norm(T) * (n - 1) ** 0.5)
        assert torch.allclose(scores.cosine.draws[draw], cosine, rtol=0, atol=1e-12)
        assert torch.equal(scores.top1.draws[draw], (moved.argmax(-1) == torch.arange(n)).double().mean(-1))


def test_tables_taken_tile_by_tile_score_the_same(generator, monkeypatch):
    table = random_table(11, 3, generator, 2)
    whole = diagonal_scores(table, torch.Generator().manual_seed(5), draws=6)
    monkeypatch.setattr("interp.circuits.diagonal.MOST_AT_ONCE", 1)
    monkeypatch.setattr(
        "interp.circuits.diagonal.tile_rows", lambda n, width, device: torch.arange(n, device=device).split(3)
    )
    parts = diagonal_scores(table, torch.Generator().manual_seed(5), draws=6)
    for field in ("eigenvalue", "cosine", "top1"):
        assert torch.allclose(getattr(parts, field).draws, getattr(whole, field).draws, rtol=0, atol=1e-12)
        assert torch.allclose(getattr(parts, field).value, getattr(whole, field).value, rtol=0, atol=1e-12)


def test_eigenvalues_are_computed_only_where_they_are_read(generator, monkeypatch):
    table = random_table(6, 2, generator)
    expected = diagonal_scores(table, torch.Generator().manual_seed(5), draws=3)
    assert float(expected.eigenvalue.value) != 0
    monkeypatch.setattr(torch.linalg, "eigvals", None)
    scores = diagonal_scores(table, torch.Generator().manual_seed(5), draws=3)
    assert torch.equal(scores.top1.draws, expected.top1.draws)
    assert torch.equal(scores.cosine.draws, expected.cosine.draws)


def test_a_logit_that_all_rows_share_counts_for_nothing(generator):
    common = Factored(torch.ones(6, 1, dtype=torch.float64), torch.arange(6.0, dtype=torch.float64)[None])
    scores = diagonal_scores(common, generator, draws=100)
    assert float(scores.eigenvalue.p_values()) > 0.05
    per_row = Factored(torch.arange(6.0, dtype=torch.float64)[:, None], torch.ones(1, 6, dtype=torch.float64))
    nothing = diagonal_scores(per_row, generator, draws=5)
    assert float(nothing.eigenvalue.value) == float(nothing.cosine.value) == float(nothing.top1.value) == 0


def test_p_values_of_random_tables_are_uniform(generator):
    tables = random_table(12, 4, generator, 300)
    scores = diagonal_scores(tables, generator, draws=99)
    for name in ("eigenvalue", "cosine"):
        p = getattr(scores, name).p_values()
        assert stats.kstest(p.numpy(), "uniform").pvalue > 0.01, name
    assert float(scores.top1.null_mean.mean()) == pytest.approx(scores.chance, abs=0.003)


def test_a_shift_makes_the_next_row_the_own_one(generator):
    # Row i holds its largest entry at i + 1.
    table = Factored(torch.eye(6, dtype=torch.float64), torch.eye(6, dtype=torch.float64).roll(1, dims=1))
    assert float(diagonal_scores(table, generator, draws=20, shift=1).top1.value) == 1
    assert float(diagonal_scores(table, generator, draws=20, shift=1).eigenvalue.value) == pytest.approx(1)
    assert float(diagonal_scores(table.T, generator, draws=20, shift=-1).top1.value) == 1
    assert float(diagonal_scores(table, generator, draws=20).top1.value) == 0
    assert float(diagonal_scores(table, generator, draws=20, shift=-1).top1.value) == 0


def test_ties_are_nobodys_largest_entry(generator):
    zero = Factored(torch.zeros(4, 1), torch.zeros(1, 4))
    scores = diagonal_scores(zero, generator, draws=5)
    assert float(scores.top1.value) == float(scores.eigenvalue.value) == float(scores.cosine.value) == 0


def test_eigenvalue_share_of_rounding_noise_is_zero():
    a = torch.tensor([[0.1], [0.2], [0.3]])
    b = torch.tensor([[3.0, 0.0, -1.0]])  # b a = 0 up to rounding
    assert float(eigenvalue_share(Factored(a, b))) == 0


def test_tables_that_cannot_be_matched_are_refused(generator):
    for table, message in ((Factored(torch.zeros(3, 1), torch.zeros(1, 4)), "square"), (identity(1), "2 rows")):
        with pytest.raises(InputError, match=message):
            diagonal_scores(table, generator)
    with pytest.raises(InputError, match="2 draws"):
        diagonal_scores(identity(3), generator, draws=1)
    with pytest.raises(InputError, match="cannot be shifted by 3"):
        diagonal_scores(identity(3), generator, shift=3)


def test_scores_are_written_with_their_nulls(generator):
    written = diagonal_scores(identity(5), generator, draws=40).to_dict()
    assert written["eigenvalue"]["value"] == pytest.approx(1)
    assert written["eigenvalue"]["p"] == pytest.approx(1 / 41, abs=1 / 41)
    assert written["eigenvalue"]["n_draws"] == 40
    assert "relabelled" in written["top1"]["null"]
    assert written["chance"] == 0.2
