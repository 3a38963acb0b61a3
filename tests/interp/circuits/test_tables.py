import dataclasses
import itertools
from typing import get_args

import pytest
import torch

from interp.circuits import (
    Factored,
    Source,
    asymmetry,
    copying_score,
    direct_path,
    full_ov,
    full_qk,
    ov,
    qk,
    skip_trigrams,
    top_entries,
)
from interp.errors import InputError
from interp.hooks import record
from interp.weights import weights_of
from tests.reference_transformer import random_model, random_tokens
from toy_models.config import Normalization, Positions, TransformerConfig
from toy_models.handmade.catalogue import make
from toy_models.handmade.transforms import change_basis, change_head_basis

SMALL = TransformerConfig(
    n_layers=2, n_heads=2, d_model=8, d_head=4, d_vocab=11, n_ctx=9, positions="standard", normalization="LN"
)
ONE_LAYER = dataclasses.replace(SMALL, n_layers=1, normalization="none")
SOURCES: tuple[Source, ...] = get_args(Source)
POSITIONS: tuple[Positions, ...] = get_args(Positions)


def largest_difference(a, b):
    assert a.shape == b.shape
    return float((a - b).detach().abs().max())


def causal(table):
    return table.masked_fill(torch.ones_like(table, dtype=torch.bool).triu(1), -torch.inf)


def test_qk_and_ov_are_the_products_of_their_matrices():
    w = weights_of(random_model(SMALL))
    for layer, head in itertools.product(range(2), repeat=2):
        assert largest_difference(qk(w, (layer, head)).dense(), w.W_Q[layer, head] @ w.W_K[layer, head].T) <= 1e-14
        assert largest_difference(ov(w, (layer, head)).dense(), w.W_V[layer, head] @ w.W_O[layer, head]) <= 1e-14
        assert largest_difference(qk(w).dense()[layer, head], qk(w, (layer, head)).dense()) <= 1e-14
        assert largest_difference(ov(w).dense()[layer, head], ov(w, (layer, head)).dense()) <= 1e-14


def test_rotary_qk_is_what_the_running_model_multiplies_at_that_offset():
    model = random_model(dataclasses.replace(ONE_LAYER, positions="rotary", biases=False))
    w, tokens = weights_of(model), random_tokens(ONE_LAYER, batch=1)
    run = record(model, tokens, names=["blocks.0.attn.hook_rot_q", "blocks.0.attn.hook_rot_k"])
    q, k = run["blocks.0.attn.hook_rot_q"][0], run["blocks.0.attn.hook_rot_k"][0]
    x = w.W_E[tokens[0]]
    for i, j, head in itertools.product(range(7), range(7), range(2)):
        if j <= i:
            by_weights = x[i] @ qk(w, (0, head), offset=i - j).dense() @ x[j]
            assert float(by_weights) == pytest.approx(float(q[i, head] @ k[j, head]), rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("function", [qk, full_qk, lambda w, head: skip_trigrams(w, head)])
def test_rotary_circuits_without_an_offset_are_refused(function):
    w = weights_of(random_model(dataclasses.replace(SMALL, positions="rotary")))
    with pytest.raises(InputError, match="pass offset=dest - src"):
        function(w, (0, 0))


@pytest.mark.parametrize("positions", POSITIONS)
def test_full_qk_tables_with_biases_add_up_to_the_scores_of_one_layer(positions: Positions):
    model = random_model(dataclasses.replace(ONE_LAYER, positions=positions))
    w, tokens = weights_of(model), random_tokens(ONE_LAYER, batch=1)
    scores = record(model, tokens, names=["blocks.0.attn.hook_attn_scores"])["blocks.0.attn.hook_attn_scores"][0]
    t = tokens[0]
    for head in range(2):
        if positions == "rotary":
            by_offset = torch.stack([full_qk(w, (0, head), offset=o, biases=True).dense() for o in range(7)])
            offsets = (torch.arange(7)[:, None] - torch.arange(7)).clamp_min(0)
            total = by_offset[offsets, t[:, None], t]
        else:
            total = full_qk(w, (0, head), biases=True).dense()[t][:, t]
            if positions != "none":
                total = total + full_qk(w, (0, head), "position", "token", biases=True).dense()[:7][:, t]
                total = total + full_qk(w, (0, head), "token", "position", biases=True).dense()[t][:, :7]
                total = total + full_qk(w, (0, head), "position", "position", biases=True).dense()[:7, :7]
        assert torch.allclose(causal(total / w.attn_scale), scores[head], rtol=0, atol=1e-10)


def test_full_qk_without_biases_differs_from_the_scores():
    model = random_model(dataclasses.replace(ONE_LAYER, positions="none"))
    w = weights_of(model)
    assert largest_difference(full_qk(w, (0, 0)).dense(), full_qk(w, (0, 0), biases=True).dense()) > 0.1


def test_smeared_keys_read_the_qk_table_at_the_token_and_at_the_one_before():
    model = random_model(dataclasses.replace(ONE_LAYER, positions="rotary", smeared_keys=True))
    w, tokens = weights_of(model), random_tokens(ONE_LAYER, batch=1)
    scores = record(model, tokens, names=["blocks.0.attn.hook_attn_scores"])["blocks.0.attn.hook_attn_scores"][0]
    assert w.smear is not None
    s, table = w.smear[0, 1], full_qk(w, (0, 1), offset=2, biases=True).dense() / w.attn_scale
    t = tokens[0]
    assert float(scores[1, 5, 3]) == pytest.approx(
        float(s * table[t[5], t[3]] + (1 - s) * table[t[5], t[2]]), abs=1e-10
    )
    assert float(scores[1, 2, 0]) == pytest.approx(float(table[t[2], t[0]]), abs=1e-10)


@pytest.mark.parametrize("positions", POSITIONS)
def test_one_layer_logits_are_the_direct_path_plus_attention_times_full_ov(positions: Positions):
    model = random_model(dataclasses.replace(ONE_LAYER, positions=positions))
    w, tokens = weights_of(model), random_tokens(ONE_LAYER, batch=1)
    run = record(model, tokens, names=["blocks.0.attn.hook_pattern"])
    pattern, t = run["blocks.0.attn.hook_pattern"][0], tokens[0]
    total = direct_path(w).dense()[t] + w.b_U
    total = total + (torch.einsum("hd,hdm->m", w.b_V[0], w.W_O[0]) + w.b_O[0]) @ w.W_U
    if positions == "standard":
        total = total + direct_path(w, "position").dense()[:7]
    for head in range(2):
        moved = full_ov(w, (0, head)).dense()[t]
        if positions == "standard":
            moved = moved + full_ov(w, (0, head), "position").dense()[:7]
        total = total + pattern[head] @ moved
    assert largest_difference(total, run.output[0]) <= 1e-10


@pytest.mark.parametrize("normalization", get_args(Normalization))
@pytest.mark.parametrize("positions", ["shortformer", "standard"])
def test_full_circuits_are_the_same_whether_folded_or_not(positions: Positions, normalization: Normalization):
    model = random_model(dataclasses.replace(SMALL, positions=positions, normalization=normalization))
    folded, raw = weights_of(model), weights_of(model, fold=False)
    for head in ((1, 0), None):
        for query, key in itertools.product(SOURCES, repeat=2):
            for biases in (False, True):
                a = full_qk(folded, head, query, key, biases=biases)
                assert largest_difference(a.dense(), full_qk(raw, head, query, key, biases=biases).dense()) <= 1e-10
        for source in SOURCES if positions == "standard" else SOURCES[:1]:
            assert (
                largest_difference(full_ov(folded, head, source).dense(), full_ov(raw, head, source).dense()) <= 1e-10
            )
    assert largest_difference(direct_path(folded).dense(), direct_path(raw).dense()) <= 1e-10


def test_scores_of_a_normalised_layer_are_full_qk_over_both_scales():
    config = dataclasses.replace(ONE_LAYER, normalization="LN", positions="none", biases=False)
    model, tokens = random_model(config), random_tokens(config, batch=1)
    with torch.no_grad():
        model.blocks[0].ln1.b.zero_()
    run = record(model, tokens, names=["blocks.0.attn.hook_attn_scores", "blocks.0.ln1.hook_scale"])
    scale, w = run["blocks.0.ln1.hook_scale"][0, :, 0], weights_of(model)
    table = full_qk(w, (0, 1)).dense()[tokens[0]][:, tokens[0]] / (scale[:, None] * scale * w.attn_scale)
    assert torch.allclose(causal(table), run["blocks.0.attn.hook_attn_scores"][0, 1], rtol=0, atol=1e-10)


def test_a_model_without_layers_is_its_direct_path():
    config = dataclasses.replace(SMALL, n_layers=0, normalization="none", positions="none")
    model, tokens = random_model(config), random_tokens(config)
    w = weights_of(model)
    assert largest_difference(direct_path(w).dense()[tokens] + w.b_U, model(tokens)) <= 1e-12


def test_tied_embeddings_have_a_symmetric_direct_path_until_a_gain_is_folded():
    tied = dataclasses.replace(SMALL, tied_embeddings=True, d_vocab=40, d_model=16)
    bounds: dict[Normalization, tuple[float, float]] = {"none": (0, 1e-12), "LNPre": (0, 1e-12), "LN": (0.05, 1)}
    for normalization, (low, high) in bounds.items():
        w = weights_of(random_model(dataclasses.replace(tied, normalization=normalization)))
        assert low <= float(asymmetry(direct_path(w))) <= high, normalization
    untied = weights_of(random_model(dataclasses.replace(tied, tied_embeddings=False)))
    assert float(asymmetry(direct_path(untied))) == pytest.approx(2**0.5, abs=0.15)


def test_asymmetry_is_two_for_an_antisymmetric_table(generator):
    a, b = torch.randn(2, 5, 1, generator=generator, dtype=torch.float64)
    antisymmetric = Factored(torch.cat([a, b], dim=1), torch.cat([b.T, -a.T], dim=0))
    assert float(asymmetry(antisymmetric)) == pytest.approx(2, abs=1e-12)
    assert float(asymmetry(Factored(torch.zeros(3, 1), torch.zeros(1, 3)))) == 0


def test_positions_that_never_reach_v_are_refused():
    for positions in ("shortformer", "rotary", "none"):
        w = weights_of(random_model(dataclasses.replace(SMALL, positions=positions)))
        for function in (lambda w: full_ov(w, (0, 0), "position"), lambda w: direct_path(w, "position")):
            with pytest.raises(InputError, match="positions in the residual stream"):
                function(w)
    w = weights_of(random_model(dataclasses.replace(SMALL, positions="none")))
    with pytest.raises(InputError, match="rotary or there are none"):
        full_qk(w, (0, 0), query="position")


def test_heads_that_do_not_exist_are_refused():
    w = weights_of(random_model(SMALL))
    for function in (qk, ov, full_qk, full_ov):
        with pytest.raises(InputError, match="layer 2"):
            function(w, (2, 0))


def test_a_handmade_copying_head_scores_one_and_an_anti_copying_head_minus_one(generator):
    for name, sign in (("induction_k", 1), ("anti_copying", -1)):
        handmade = make(name)
        w = weights_of(handmade.model)
        (head,) = handmade.truth.heads("induction" if sign == 1 else "anti-copying")
        score = copying_score(w, generator, head, draws=99)
        assert float(score.eigenvalue.value) == pytest.approx(sign, abs=1e-9)
        assert float(score.cosine.value) == pytest.approx(sign, abs=1e-9)
        assert float(score.top1.value) == (1 if sign == 1 else 0)
        assert score.chance == 1 / 16
        p = score.eigenvalue.p_values("greater" if sign == 1 else "less")
        assert float(p) == pytest.approx(0.01)


def test_the_copying_score_does_not_depend_on_bases_or_on_a_logit_shared_by_all_tokens():
    model = random_model(ONE_LAYER)
    scores = {"as it is": model, "head basis": change_head_basis(model, torch.Generator().manual_seed(5))}
    scores["residual basis"] = change_basis(model, torch.Generator().manual_seed(6))
    shared = random_model(ONE_LAYER)
    with torch.no_grad():
        shared.unembed.W_U.add_(torch.randn(8, 1, generator=torch.Generator().manual_seed(7)))
    scores["shared logit"] = shared
    found = {
        name: copying_score(weights_of(changed), torch.Generator().manual_seed(1), draws=20)
        for name, changed in scores.items()
    }
    reference = found.pop("as it is")
    for name, score in found.items():
        for field in ("eigenvalue", "cosine", "top1"):
            a, b = getattr(score, field), getattr(reference, field)
            assert largest_difference(a.value, b.value) <= 1e-8, (name, field)
            assert largest_difference(a.draws, b.draws) <= 1e-8, (name, field)


@pytest.mark.parametrize("magnitude", [False, True])
@pytest.mark.parametrize("tile", [1, 30, 2**22])
def test_top_entries_are_those_of_the_dense_table(tile, magnitude, generator):
    table = full_ov(weights_of(random_model(SMALL)), (1, 1))
    found = top_entries(table, 7, magnitude=magnitude, tile=tile)
    dense = table.dense()
    order = (dense.abs() if magnitude else dense).flatten().argsort(descending=True)[:7]
    assert found.row.tolist() == (order // 11).tolist()
    assert found.column.tolist() == (order % 11).tolist()
    assert torch.allclose(found.value, dense.flatten()[order])
    assert len(top_entries(table, 1000).value) == 121


def test_top_entries_of_nothing_are_refused():
    w = weights_of(random_model(SMALL))
    with pytest.raises(InputError, match="k=0"):
        top_entries(full_ov(w, (0, 0)), 0)
    with pytest.raises(InputError, match="one matrix"):
        top_entries(full_ov(w), 3)


@pytest.mark.parametrize("positions, offset", [("none", None), ("rotary", 3)])
def test_skip_trigrams_are_the_largest_products_over_all_triples(positions: Positions, offset):
    w = weights_of(random_model(dataclasses.replace(ONE_LAYER, positions=positions)))
    attention = full_qk(w, (0, 1), offset=offset, biases=True).dense() / w.attn_scale
    attention = attention - attention.mean(1, keepdim=True)
    logit = full_ov(w, (0, 1)).dense()
    logit = logit - logit.mean(1, keepdim=True)
    triples = {
        (s, d, o): float(attention[d, s] * logit[s, o])
        for s, d, o in itertools.product(range(11), repeat=3)
        if attention[d, s] > 0 and logit[s, o] > 0
    }
    expected = sorted(triples, key=lambda triple: -triples[triple])[:25]
    found = skip_trigrams(w, (0, 1), k=25, offset=offset)
    assert [(t.src, t.dst, t.out) for t in found] == expected
    for t in found:
        assert t.score == pytest.approx(triples[t.src, t.dst, t.out], abs=1e-10)
        assert t.attention == pytest.approx(float(attention[t.dst, t.src]), abs=1e-10)
        assert t.logit == pytest.approx(float(logit[t.src, t.out]), abs=1e-10)


@pytest.mark.parametrize("k", [1, 4, 300])
def test_skip_trigrams_found_tile_by_tile_are_the_same_and_tiles_are_wrapped(k, monkeypatch):
    w = weights_of(random_model(dataclasses.replace(ONE_LAYER, positions="none")))
    whole, seen = skip_trigrams(w, (0, 1), k), []
    monkeypatch.setattr("interp.circuits.tables.tile_rows", lambda n, width: torch.arange(n).split(2))
    parts = skip_trigrams(w, (0, 1), k, progress=lambda tiles: seen.append(len(tiles)) or tiles)
    assert [t[:3] for t in parts] == [t[:3] for t in whole]
    assert [t.score for t in parts] == pytest.approx([t.score for t in whole], abs=1e-12)
    assert seen == [6]


def test_skip_trigrams_of_weights_that_are_not_finite_are_refused():
    w = weights_of(random_model(ONE_LAYER))
    with pytest.raises(InputError, match="not finite"):
        skip_trigrams(dataclasses.replace(w, W_Q=w.W_Q / 0), (0, 0))


def test_the_handmade_skip_trigrams_are_found_with_the_mistakes_they_force():
    handmade = make("skip_trigram")
    (head,) = handmade.truth.heads("skip-trigram")
    found = skip_trigrams(weights_of(handmade.model), head, k=5)
    named = {tuple(handmade.labels[i] for i in triple[:3]) for triple in found[:4]}
    told, forced = {("keep", "in", "mind"), ("keep", "at", "bay")}, {("keep", "in", "bay"), ("keep", "at", "mind")}
    assert named == told | forced
    assert found[3].score > 2 * (found[4].score if len(found) > 4 else 0)
    with pytest.raises(InputError, match="k must be at least 1"):
        skip_trigrams(weights_of(handmade.model), head, k=0)
