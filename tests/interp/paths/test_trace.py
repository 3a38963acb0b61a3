import dataclasses

import pytest
import torch

from interp.errors import InputError
from interp.names import Head
from interp.paths import freeze, previous_token_trace
from tests.reference_transformer import random_model, random_tokens
from toy_models.config import TransformerConfig
from toy_models.handmade import make, variants

SMALL = TransformerConfig(
    n_layers=3, n_heads=2, d_model=8, d_head=4, d_vocab=11, n_ctx=9, positions="standard", normalization="LN"
)


def trace_of(made, generator):
    return previous_token_trace(freeze(made.model, made.example_tokens), generator)


def looking_back(patterns, layer, index):
    """Mean attention to the token before, over sequences and positions from 1 on, in loops."""
    seen = [row[dest, dest - 1] for row in patterns[layer][:, index] for dest in range(1, row.shape[0])]
    return float(torch.stack(seen).mean())


@pytest.mark.parametrize("positions, offset", [("standard", None), ("rotary", 3)])
def test_the_trace_is_the_dense_sum_over_earlier_heads_with_row_means_removed(positions, offset, generator):
    config = dataclasses.replace(SMALL, positions=positions)
    run = freeze(random_model(config), random_tokens(config))
    found, w = previous_token_trace(run, generator, offset=offset), run.weights
    assert found.heads == (Head(1, 0), Head(1, 1), Head(2, 0), Head(2, 1))
    for i, head in enumerate(found.heads):
        table = torch.zeros(11, 11, dtype=torch.float64)
        for e in ((layer, index) for layer in range(head.layer) for index in range(2)):
            looks_back = looking_back(run.patterns, *e)
            assert float(found.looks_back[e]) == pytest.approx(looks_back)
            moved = w.W_E @ w.W_V[e] @ w.W_O[e]
            table += looks_back * w.W_E @ w.W_Q[head] @ w.rotation(offset) @ w.W_K[head].T @ moved.T
        centred = table - table.mean(1, keepdim=True)
        assert float(found.trace.value[i]) == pytest.approx(float(centred.trace()) / 2)
        cosine = float(centred.trace() / centred.norm() / 10**0.5)
        assert float(found.diagonal.cosine.value[i]) == pytest.approx(cosine)


def test_draws_of_the_trace_are_traces_of_the_table_with_columns_relabelled(generator):
    run = freeze(random_model(SMALL), random_tokens(SMALL))
    found = previous_token_trace(run, generator, draws=5)
    for i in range(4):
        dense = found.diagonal.table[i].dense()
        for draw, columns in enumerate(found.diagonal.columns[1:]):
            trace = float(dense[:, columns].trace()) / run.weights.attn_scale
            assert float(found.trace.draws[draw, i]) == pytest.approx(trace)
    assert found.trace.null == "the table with its columns relabelled at random"


@pytest.mark.parametrize("copy", [None, variants.in_another_basis, variants.in_other_head_bases])
def test_the_trace_of_handmade_induction_is_sharpness_times_the_vocabulary_but_for_row_means(copy, generator):
    made = make("induction_k")
    found = trace_of(made if copy is None else copy(made, generator), generator)
    assert found.looks_back.tolist() == [[pytest.approx(1.0)], [pytest.approx(looks_back_of_induction())]]
    assert float(found.trace.value[0]) == pytest.approx(40 * 16 * (1 - 1 / 16))
    assert float(found.trace.value[0]) > 2 * float(found.trace.draws.max())
    assert float(found.diagonal.eigenvalue.value[0]) == pytest.approx(1.0)
    assert float(found.diagonal.top1.value[0]) == 1.0


def looks_back_of_induction():
    """Before the second block it has nothing to match and attends evenly to p + 1 tokens; then fourteen back."""
    return sum(1 / (p + 1) for p in range(1, 16)) / 30


@pytest.mark.parametrize("name", ["induction_q", "unread_previous_token", "positional", "literal_previous", "two_back"])
def test_the_trace_of_heads_that_match_no_previous_token_is_zero_pointers_among_them(name, generator):
    found = trace_of(make(name), generator)
    assert found.trace.value.tolist() == pytest.approx([0.0], abs=1e-9)
    assert found.trace.p_values().tolist() == [1.0]


def test_a_table_of_two_feeds_counts_each_by_how_much_it_looks_back(generator):
    found = trace_of(make("induction_shared"), generator)
    assert found.heads == (Head(1, 0), Head(1, 1))
    assert found.trace.value.tolist() == pytest.approx([600.0, 0.0], abs=1e-6)


@pytest.mark.parametrize("name", ["random_weights", "untrained"])
def test_the_trace_of_random_weights_lies_within_its_null(name):
    """More than 4 of 20 p-values below 5 % have a chance of 0.3 %."""
    low = sum(
        float(trace_of(make(name, seed=seed), torch.Generator().manual_seed(seed)).trace.p_values("two-sided")[0])
        < 0.05
        for seed in range(20)
    )
    assert low <= 4


def test_the_trace_of_a_model_without_a_second_layer_is_refused(generator):
    config = dataclasses.replace(SMALL, n_layers=1)
    with pytest.raises(InputError, match="it needs two layers, the model has 1"):
        previous_token_trace(freeze(random_model(config), random_tokens(config)), generator)


def test_rotary_positions_need_an_offset(generator):
    config = dataclasses.replace(SMALL, positions="rotary")
    with pytest.raises(InputError, match="pass offset"):
        previous_token_trace(freeze(random_model(config), random_tokens(config)), generator)


def test_what_was_found_can_be_written_down(generator):
    written = previous_token_trace(freeze(random_model(SMALL), random_tokens(SMALL)), generator, draws=3).to_dict()
    assert written["heads"] == ["L1H0", "L1H1", "L2H0", "L2H1"]
    assert len(written["trace"]["value"]) == len(written["diagonal"]["cosine"]["p"]) == 4
