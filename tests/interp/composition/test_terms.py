"""Token-space terms of all pairs: the same as each dense term, unmoved by a change of basis, beside two nulls."""

import dataclasses
import itertools
from typing import get_args

import pytest
import torch
from scipy import stats

from interp.circuits.tables import attention_input, final_input
from interp.composition import Kind, term_scores, token_composition
from interp.composition.terms import rotation, shuffled
from interp.errors import InputError
from interp.weights import weights_of
from tests.reference_transformer import random_model
from toy_models.config import TransformerConfig
from toy_models.handmade.catalogue import make
from toy_models.handmade.transforms import change_basis, change_head_basis

SMALL = TransformerConfig(
    n_layers=3, n_heads=2, d_model=9, d_head=4, d_vocab=12, n_ctx=7, positions="standard", normalization="LN"
)
KINDS: tuple[Kind, ...] = get_args(Kind)


def dense_term(w, earlier, later, kind, offset=0, positions=True):
    """The whole table, rows centred, in units of scores or logits."""
    E = w.W_E if w.W_pos is None or kind == "V" or not positions else torch.cat([w.W_E, w.W_pos])
    moved = attention_input(w, earlier, E) @ w.W_V[earlier] @ w.W_O[earlier]
    read, here = attention_input(w, later, moved), attention_input(w, later, E)
    QK = w.W_Q[later] @ w.rotation(offset) @ w.W_K[later].T
    table = {
        "K": lambda: here @ QK @ read.T / w.attn_scale,
        "Q": lambda: read @ QK @ here.T / w.attn_scale,
        "V": lambda: final_input(w, read @ w.W_V[later] @ w.W_O[later]) @ w.W_U,
    }[kind]()
    return table - table.mean(1, keepdim=True)


def pairs(w):
    heads = list(itertools.product(range(w.n_layers), range(w.n_heads)))
    return [(e, later) for e in heads for later in heads if e[0] < later[0]]


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize(
    "changes", [{}, {"positions": "rotary"}, {"positions": "shortformer"}, {"normalization": "RMS"}]
)
def test_eigenvalues_and_traces_are_those_of_the_dense_terms(changes, fold, generator):
    w = weights_of(random_model(dataclasses.replace(SMALL, **changes)), fold=fold)
    for kind, positions in itertools.product(KINDS, (True, False)):
        found = term_scores(w, kind, generator, 2, offset=3, positions=positions, rotated=False)
        for earlier, later in pairs(w):
            table = dense_term(w, earlier, later, kind, 3 if w.rotary_base else 0, positions)
            values = torch.linalg.eigvals(table)
            share = float(values.sum().real / values.abs().sum())
            assert float(found.eigenvalue.value[earlier + later]) == pytest.approx(share, abs=1e-6)
            assert float(found.trace.value[earlier + later]) == pytest.approx(float(table.trace() / len(table)))
        assert found.rows == len(table)
        assert found.eigenvalue.value[1, 0, 1, 0].isnan()


def test_folding_the_normalisation_changes_nothing(generator):
    model = random_model(SMALL)
    for kind in KINDS:
        a, b = (term_scores(weights_of(model, fold=f), kind, generator, 2, rotated=False) for f in (True, False))
        assert torch.allclose(a.eigenvalue.value, b.eigenvalue.value, atol=1e-9, equal_nan=True)
        assert torch.allclose(a.trace.value, b.trace.value, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("kind", KINDS)
def test_the_relabelled_null_is_that_of_the_terms_one_by_one(kind, generator):
    w = weights_of(random_model(dataclasses.replace(SMALL, n_layers=2, n_heads=1)))
    together = term_scores(w, kind, generator, 600, positions=False, rotated=False).eigenvalue
    alone = token_composition(w, (0, 0), (1, 0), kind, generator, draws=600).eigenvalue
    assert float(together.value[0, 0, 1, 0]) == pytest.approx(float(alone.value), abs=1e-9)
    assert stats.ks_2samp(together.draws[:, 0, 0, 1, 0].numpy(), alone.draws.numpy()).pvalue > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_a_relabelled_draw_is_the_dense_term_with_its_columns_permuted(kind):
    w = weights_of(random_model(dataclasses.replace(SMALL, n_layers=2, n_heads=1)))
    found = term_scores(w, kind, torch.Generator().manual_seed(5), 2, rotated=False)
    table = dense_term(w, (0, 0), (1, 0), kind)
    order = shuffled([12, len(table) - 12], torch.Generator().manual_seed(5))
    values = torch.linalg.eigvals(table[:, order])
    assert float(found.eigenvalue.draws[0, 0, 0, 1, 0]) == pytest.approx(float(values.sum().real / values.abs().sum()))
    assert float(found.trace.draws[0, 0, 0, 1, 0]) == pytest.approx(float(table[:, order].trace() / len(table)))
    assert sorted(order[:12].tolist()) == list(range(12))
    assert sorted(order.tolist()) == list(range(len(table)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_rotated_draw_is_the_term_of_a_model_whose_earlier_head_writes_rotated(kind):
    w = weights_of(random_model(dataclasses.replace(SMALL, n_layers=2, n_heads=1)))
    seed = torch.Generator().manual_seed(5)
    found = term_scores(w, kind, seed, 2)
    again = torch.Generator().manual_seed(5)
    for _ in range(2):
        shuffled([12, found.rows - 12], again)
    turned = dataclasses.replace(w, W_O=torch.cat([w.W_O[:1] @ rotation(9, again), w.W_O[1:]]))
    table = dense_term(turned, (0, 0), (1, 0), kind)
    assert found.rotated_trace is not None
    assert float(found.rotated_trace.draws[0, 0, 0, 1, 0]) == pytest.approx(float(table.trace() / len(table)))


def test_rotations_are_haar_distributed(generator):
    drawn = torch.stack([rotation(3, generator) for _ in range(4000)])
    assert float((drawn @ drawn.mT - torch.eye(3)).abs().max()) <= 1e-12
    assert abs(float(drawn.diagonal(dim1=1, dim2=2).sum(1).mean())) <= 0.07  # without the signs of R it is negative
    assert stats.kstest(((drawn[:, 1, 2] + 1) / 2).numpy(), "uniform").pvalue > 0.01  # on a sphere in 3 dimensions


@pytest.mark.parametrize("name, kind", [("induction_k", "K"), ("two_back", "V"), ("induction_q", "Q")])
def test_no_change_of_basis_moves_values_or_the_relabelled_null(name, kind):
    handmade = make(name)

    def found(model):
        return term_scores(weights_of(model), kind, torch.Generator().manual_seed(3), 6, rotated=False)

    still, generator = found(handmade.model), torch.Generator().manual_seed(8)
    for changed in (change_basis(handmade.model, generator), change_head_basis(handmade.model, generator)):
        moved = found(changed)
        for a, b in ((still.eigenvalue, moved.eigenvalue), (still.trace, moved.trace)):
            assert torch.allclose(a.value, b.value, atol=1e-7, equal_nan=True)
            assert torch.allclose(a.draws, b.draws, atol=1e-7, equal_nan=True)


@pytest.mark.parametrize("name, kind", [("induction_k", "K"), ("two_back", "V")])
def test_the_handmade_circuits_stand_out_from_both_nulls(name, kind, generator):
    w = weights_of(make(name).model)
    found = term_scores(w, kind, generator, 99)
    assert found.rotated_eigenvalue is not None
    for scored in (found.eigenvalue, found.rotated_eigenvalue):
        assert float(scored.value[0, 0, 1, 0]) == pytest.approx(1, abs=1e-9)
        assert float(scored.p_values()[0, 0, 1, 0]) == 0.01
    for other in set(KINDS) - {kind}:
        assert float(term_scores(w, other, generator, 2).eigenvalue.value[0, 0, 1, 0]) == 0


def test_terms_of_zero_by_rounding_alone_count_as_zero(generator):
    moved = change_basis(make("induction_k").model, generator)
    found = term_scores(weights_of(moved), "V", generator, 2, rotated=False)
    assert float(found.eigenvalue.value[0, 0, 1, 0]) == 0


def test_what_cannot_be_scored_is_refused(generator):
    w = weights_of(random_model(SMALL))
    with pytest.raises(InputError, match="at least 2 rows and 2 draws, got 19 and 1"):
        term_scores(w, "K", generator, draws=1)
    with pytest.raises(InputError, match="as many tokens out as in, got 11 and 12"):
        term_scores(dataclasses.replace(w, W_U=w.W_U[:, 1:], b_U=w.b_U[1:]), "V", generator)
    with pytest.raises(InputError, match="W_E holds NaN or infinity"):
        term_scores(dataclasses.replace(w, W_E=w.W_E / 0), "K", generator)
    rotary = weights_of(random_model(dataclasses.replace(SMALL, positions="rotary")))
    with pytest.raises(InputError, match="pass offset"):
        term_scores(rotary, "K", generator)
