import dataclasses
import itertools

import pytest
import torch

from interp.circuits import (
    Factored,
    centred_rows,
    copying_score,
    diagonal_scores,
    full_ov,
    full_qk,
    ov_tables,
    qk_tables,
    spectra,
)
from interp.errors import InputError
from interp.weights import weights_of
from tests.reference_transformer import random_model
from toy_models.config import TransformerConfig
from toy_models.handmade.catalogue import make

CONFIG = TransformerConfig(
    n_layers=2, n_heads=3, d_model=12, d_head=4, d_vocab=29, n_ctx=9, positions="standard", normalization="LN"
)
HEADS = tuple(itertools.product(range(2), range(3)))


def seeded():
    return torch.Generator().manual_seed(3)


def same_set(a, b, tolerance=1e-9):
    """Complex numbers in whatever order, through their power sums."""
    scale = float(b.abs().max())
    return all(
        float(((a / scale) ** p).sum(-1).sub(((b / scale) ** p).sum(-1)).abs().max()) <= tolerance for p in range(1, 6)
    )


def attended(w, head, offset=None):
    table = full_qk(w, head, offset=offset, biases=True)
    return centred_rows(Factored(table.A / w.attn_scale, table.B))


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("normalization", ["none", "LN", "RMS"])
def test_ov_tables_are_the_full_ov_circuits_minus_row_means(normalization, fold):
    w = weights_of(random_model(dataclasses.replace(CONFIG, normalization=normalization)), fold=fold)
    tables = ov_tables(w)
    assert tables.heads == HEADS
    for index, head in enumerate(HEADS):
        expected = centred_rows(full_ov(w, head))
        assert torch.allclose(tables.table(index).dense(), expected.dense(), rtol=0, atol=1e-10)
        assert same_set(tables.eigenvalues()[index], torch.linalg.eigvals(expected.dense()))


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("positions, offset", [("standard", None), ("rotary", 2)])
def test_qk_tables_are_the_full_qk_circuits_with_biases_minus_row_means(positions, offset, fold):
    w = weights_of(random_model(dataclasses.replace(CONFIG, positions=positions)), fold=fold)
    tables = qk_tables(w, offset=offset)
    for index, head in enumerate(HEADS):
        expected = attended(w, head, offset)
        assert torch.allclose(tables.table(index).dense(), expected.dense(), rtol=0, atol=1e-10)
        assert same_set(tables.eigenvalues()[index], torch.linalg.eigvals(expected.dense()))


@pytest.mark.parametrize("chunk", [1, 10, 4096])
@pytest.mark.parametrize("together", [True, False])
def test_scores_and_their_nulls_are_those_of_diagonal_scores_on_each_table(together, chunk, monkeypatch):
    monkeypatch.setattr(spectra, "CHUNK", chunk)
    monkeypatch.setattr(spectra.SharedTables, "shares_middle", lambda self, draws: together)
    w = weights_of(random_model(CONFIG), fold=False)
    scored = ov_tables(w).scored(seeded(), draws=7)
    expected = copying_score(w, seeded(), draws=7).eigenvalue
    assert torch.allclose(scored.value.view(2, 3), expected.value, rtol=0, atol=1e-9)
    assert torch.allclose(scored.draws.view(7, 2, 3), expected.draws, rtol=0, atol=1e-9)
    assert scored.null == expected.null
    matches = qk_tables(w, [(1, 2)]).scored(seeded(), draws=7)
    one = diagonal_scores(attended(w, (1, 2)), seeded(), draws=7).eigenvalue
    assert torch.allclose(matches.value[0], one.value, rtol=0, atol=1e-9)
    assert torch.allclose(matches.draws[:, 0], one.draws, rtol=0, atol=1e-9)


def test_single_precision_weights_keep_six_digits_of_the_score():
    w = weights_of(random_model(CONFIG))
    exact = ov_tables(w).scores()
    single = ov_tables(w.to(torch.float32)).scores()
    assert single.dtype == torch.float64
    assert 0 < float((single - exact).abs().max()) <= 1e-5


def test_a_logit_shared_by_all_tokens_changes_no_eigenvalue():
    w = weights_of(random_model(CONFIG))
    moved = dataclasses.replace(w, W_U=w.W_U + torch.linspace(-5, 5, 12, dtype=torch.float64)[:, None])
    assert torch.allclose(ov_tables(moved).scores(), ov_tables(w).scores(), rtol=0, atol=1e-9)


def test_handmade_heads_score_one_minus_one_and_nothing():
    for name, expected in (("induction_k", 1.0), ("anti_copying", -1.0)):
        made = make(name)
        (head,) = made.truth.heads("induction" if expected == 1 else "anti-copying")
        tables = ov_tables(weights_of(made.model))
        assert float(tables.scores()[tables.heads.index(head)]) == pytest.approx(expected, abs=1e-9)
    feeder = ov_tables(weights_of(make("induction_k").model), [(0, 0)])  # its output is not read by the unembedding
    assert float(feeder.scores()) == 0


def test_eigenvalues_that_are_rounding_count_as_nothing():
    E, U = torch.tensor([[0.3], [0.7], [1.1]]), torch.tensor([[1.0, -2.0, 1.0]])
    one = torch.ones(1, 1, 1)
    tables = spectra.SharedTables(((0, 0),), E, one, one, U)
    assert float(tables.middle()) > 0
    assert tables.scores().tolist() == [0.0]
    assert float(dataclasses.replace(tables, E=E + torch.eye(3)[:, :1] * 1e-4).scores()) == 1


def test_one_product_for_all_heads_is_made_where_heads_are_many():
    tables = ov_tables(weights_of(random_model(CONFIG)))
    many = dataclasses.replace(tables, left=tables.left.repeat(40, 1, 1), right=tables.right.repeat(40, 1, 1))
    many = dataclasses.replace(many, heads=HEADS * 40)
    assert many.shares_middle(100)
    assert not dataclasses.replace(tables, heads=HEADS[:1]).shares_middle(100)


def test_draws_or_heads_are_wrapped(monkeypatch):
    tables, seen = ov_tables(weights_of(random_model(CONFIG))), []
    monkeypatch.setattr(spectra.SharedTables, "shares_middle", lambda self, draws: draws == 5)
    for draws, steps in ((5, 5), (4, 6)):
        tables.scored(seeded(), draws, progress=lambda each: seen.append(len(each)) or each)
        assert seen.pop() == steps


def test_tables_without_eigenvalues_are_refused():
    w = weights_of(random_model(CONFIG))
    with pytest.raises(InputError, match="layer 2"):
        ov_tables(w, [(2, 0)])
    with pytest.raises(InputError, match="no head"):
        ov_tables(w, [])
    with pytest.raises(InputError, match="2 draws"):
        ov_tables(w).scored(seeded(), draws=1)
    with pytest.raises(InputError, match="29 x 28 tokens"):
        ov_tables(dataclasses.replace(w, W_U=w.W_U[:, 1:], b_U=w.b_U[1:]))
    with pytest.raises(InputError, match="not finite"):
        ov_tables(dataclasses.replace(w, W_V=w.W_V * torch.nan))
