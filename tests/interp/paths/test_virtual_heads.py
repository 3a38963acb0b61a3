import dataclasses
import itertools
from typing import Any

import pytest
import torch

from interp.circuits import full_ov, full_qk
from interp.composition import token_table
from interp.errors import InputError
from interp.paths import freeze, score_table, virtual_full_ov, virtual_head_effect, virtual_ov, virtual_pattern
from interp.weights import weights_of
from tests.reference_transformer import random_model, random_tokens
from toy_models.config import TransformerConfig
from toy_models.handmade import make
from toy_models.handmade.transforms import change_basis, change_head_basis

SMALL = TransformerConfig(
    n_layers=3, n_heads=2, d_model=8, d_head=4, d_vocab=11, n_ctx=9, positions="standard", normalization="LN"
)
PLAIN = dataclasses.replace(SMALL, normalization="none")
CHAINS = [[(0, 1)], [(0, 1), (1, 0)], [(0, 0), (2, 1)], [(0, 1), (1, 1), (2, 0)]]
TWO_BACK = [(0, 0), (1, 0)]


def assert_same(found, expected):
    assert float((found - expected).abs().max()) <= 1e-10 * max(1.0, float(expected.abs().max()))


def dense_ov(w, chain):
    product = torch.eye(w.d_model, dtype=w.dtype)
    for head in chain:
        product = product @ (w.W_V[head] @ w.W_O[head])
    return product


@pytest.mark.parametrize("chain", CHAINS)
def test_a_virtual_pattern_is_the_product_of_the_patterns_and_its_rows_sum_to_one(chain):
    run = freeze(random_model(SMALL), random_tokens(SMALL))
    found = virtual_pattern(run, chain)
    for row in range(2):
        expected = torch.eye(7, dtype=torch.float64)
        for layer, index in chain:
            expected = run.patterns[layer][row, index] @ expected
        assert_same(found[row], expected)
    assert_same(found.sum(-1), torch.ones(2, 7, dtype=torch.float64))


@pytest.mark.parametrize("chain", CHAINS)
def test_a_virtual_ov_circuit_and_its_spectrum_are_those_of_the_dense_product(chain):
    w = weights_of(random_model(SMALL))
    expected = dense_ov(w, chain)
    found = virtual_ov(w, chain)
    assert_same(found.dense(), expected)
    assert found.rank == 4
    assert_same(found.singular_values(), torch.linalg.svdvals(expected)[:4])


@pytest.mark.parametrize("chain", CHAINS)
def test_a_full_virtual_ov_circuit_runs_from_tokens_or_positions_to_logits(chain):
    w = weights_of(random_model(SMALL))
    found = virtual_full_ov(w, chain)
    assert_same(found.dense(), w.W_E @ dense_ov(w, chain) @ w.W_U)
    eigenvalues = torch.linalg.eigvals(w.W_E @ dense_ov(w, chain) @ w.W_U).abs().sort(descending=True).values
    assert_same(found.eigenvalues().abs(), eigenvalues[:4])
    assert_same(virtual_full_ov(w, chain, "position").dense(), w.W_pos @ dense_ov(w, chain) @ w.W_U)
    if len(chain) == 1:
        assert_same(found.dense(), full_ov(w, chain[0]).dense())
    if len(chain) == 2:
        assert_same(found.dense(), token_table(w, *chain, "V").dense())


@pytest.mark.parametrize("options", [{}, {"positions": "shortformer"}, {"normalization": "RMS"}])
def test_full_circuits_are_the_same_whether_folded_or_not(options):
    model = random_model(dataclasses.replace(SMALL, **options))
    folded, raw = weights_of(model), weights_of(model, fold=False)
    for chain in CHAINS:
        assert_same(virtual_full_ov(folded, chain).dense(), virtual_full_ov(raw, chain).dense())
    for query, key in itertools.product([[], *CHAINS[:2]], repeat=2):
        assert_same(score_table(folded, (2, 0), query, key).dense(), score_table(raw, (2, 0), query, key).dense())


def dense_table(w, head, query, key, query_source, key_source, offset):
    tables = {"token": w.W_E, "position": w.W_pos}
    left, right = tables[query_source] @ dense_ov(w, query), tables[key_source] @ dense_ov(w, key)
    return left @ w.W_Q[head] @ w.rotation(offset) @ w.W_K[head].T @ right.T


@pytest.mark.parametrize("sources", [*itertools.product(["token", "position"], repeat=2)])
@pytest.mark.parametrize("chains", [*itertools.product([[], *CHAINS[:2]], repeat=2)])
def test_score_tables_are_the_dense_products_of_every_kind(chains, sources):
    w = weights_of(random_model(PLAIN))
    found = score_table(w, (2, 1), *chains, *sources)
    assert_same(found.dense(), dense_table(w, (2, 1), *chains, *sources, None))
    assert found.rank == 4


def test_score_tables_of_single_heads_are_the_known_tables():
    w = weights_of(random_model(SMALL))
    assert_same(score_table(w, (2, 1)).dense(), full_qk(w, (2, 1)).dense())
    assert_same(score_table(w, (2, 1), key=[(0, 1)]).dense(), token_table(w, (0, 1), (2, 1), "K").dense())
    assert_same(score_table(w, (2, 1), query=[(1, 0)]).dense(), token_table(w, (1, 0), (2, 1), "Q").dense())


def test_rotary_score_tables_turn_by_their_offset():
    w = weights_of(random_model(dataclasses.replace(PLAIN, positions="rotary")))
    for offset in (0, 3):
        found = score_table(w, (2, 1), [(0, 1)], [(1, 0)], offset=offset).dense()
        assert_same(found, dense_table(w, (2, 1), [(0, 1)], [(1, 0)], "token", "token", offset))
    with pytest.raises(InputError, match="pass offset"):
        score_table(w, (2, 1), [(0, 1)])


@pytest.mark.parametrize("change", [change_basis, change_head_basis])
def test_token_space_does_not_move_with_any_basis(change, generator):
    model = random_model(PLAIN)
    was, now = weights_of(model), weights_of(change(model, generator))
    assert float((now.W_Q - was.W_Q).norm() / was.W_Q.norm()) > 0.1
    for chain in CHAINS:
        expected = virtual_full_ov(was, chain).dense()
        found = virtual_full_ov(now, chain).dense()
        assert float((found - expected).abs().max()) <= 1e-9 * float(expected.abs().max())
    for query, key in itertools.product([[], *CHAINS[:2]], repeat=2):
        expected = score_table(was, (2, 0), query, key, "position").dense()
        found = score_table(now, (2, 0), query, key, "position").dense()
        assert float((found - expected).abs().max()) <= 1e-9 * float(expected.abs().max())


def test_the_k_table_of_handmade_induction_is_sharpness_times_the_identity():
    w = weights_of(make("induction_k").model)
    table = score_table(w, (1, 0), key=[(0, 0)])
    assert_same(table.dense(), 40 * w.attn_scale * torch.eye(16, dtype=torch.float64))
    eigenvalues = table.eigenvalues()
    assert float(eigenvalues.sum().real / eigenvalues.abs().sum()) == pytest.approx(1.0)
    for other in (score_table(w, (1, 0)), score_table(w, (1, 0), [(0, 0)]), score_table(w, (1, 0), [(0, 0)], [(0, 0)])):
        assert float(other.dense().abs().max()) == 0


def test_the_q_table_of_the_pointer_model_points_one_position_further():
    w = weights_of(make("induction_q").model)
    table = score_table(w, (1, 0), [(0, 0)], [], "position", "position").dense()
    assert_same(table, 40 * w.attn_scale * torch.eye(34, dtype=torch.float64).roll(1, dims=1).triu())
    assert float(score_table(w, (1, 0), key=[(0, 0)]).dense().abs().max()) == 0


def test_the_virtual_head_of_two_back_looks_two_back_and_copies_though_neither_head_does():
    made = make("two_back")
    run = freeze(made.model, made.example_tokens)
    pattern = virtual_pattern(run, TWO_BACK)
    assert_same(pattern[:, 2:].diagonal(0, 1, 2), torch.ones(4, 29, dtype=torch.float64))
    eigenvalues = virtual_full_ov(run.weights, TWO_BACK).eigenvalues()
    assert float(eigenvalues.sum().real / eigenvalues.abs().sum()) == pytest.approx(1.0)
    assert eigenvalues[:16].abs().tolist() == pytest.approx([12.0] * 16)
    for head in TWO_BACK:
        assert float(virtual_full_ov(run.weights, [head]).dense().abs().max()) == 0


def test_without_its_virtual_head_the_two_back_model_guesses(generator):
    made = make("two_back")
    run, truth = freeze(made.model, made.example_tokens), made.truth
    effect = virtual_head_effect(run, TWO_BACK, generator, targets=made.answers)
    assert effect.mean == pytest.approx(truth.find("order-2 loss").value - truth.find("order-0 loss").value)
    for head in TWO_BACK:
        assert virtual_head_effect(run, [head], generator, targets=made.answers).mean == pytest.approx(0, abs=1e-9)


BAD: list[tuple[Any, str]] = [
    ([], "at least one head"),
    ([(3, 0)], "L3H0 is in layer 3"),
    ([(0, 5)], "L0H5 is head 5"),
    ([(1, 0), (0, 0)], "L0H0 cannot follow L1H0, which is in a later layer"),
    ([(1, 0), (1, 1)], "which is in the same layer"),
]


@pytest.mark.parametrize("chain, message", BAD)
def test_chains_that_cannot_be_are_refused(chain, message, generator):
    run = freeze(random_model(SMALL), random_tokens(SMALL))
    calls = [
        lambda: virtual_pattern(run, chain),
        lambda: virtual_ov(run.weights, chain),
        lambda: virtual_full_ov(run.weights, chain),
        lambda: virtual_head_effect(run, chain, generator),
    ]
    for call in calls:
        with pytest.raises(InputError, match=message):
            call()


def test_tables_that_cannot_be_are_refused():
    w = weights_of(random_model(SMALL))
    for query, key in (([(1, 0)], []), ([], [(1, 1)])):
        with pytest.raises(InputError, match="L1H0 cannot follow L1H"):
            score_table(w, (1, 0), query, key)
    shortformer = weights_of(random_model(dataclasses.replace(SMALL, positions="shortformer")))
    with pytest.raises(InputError, match=r"carries positions only if they are in the residual stream"):
        score_table(shortformer, (1, 0), key=[(0, 0)], key_source="position")
    with pytest.raises(InputError, match="V never sees others"):
        virtual_full_ov(shortformer, [(0, 0)], "position")
