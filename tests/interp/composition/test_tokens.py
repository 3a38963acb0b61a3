import dataclasses
from typing import get_args

import pytest
import torch

from interp.circuits import diagonal_scores, direct_path, full_ov, full_qk
from interp.composition import Kind, token_composition, token_table
from interp.errors import InputError
from interp.hooks import record
from interp.names import Head, pattern_name, scores_name
from interp.weights import weights_of
from tests.reference_transformer import random_model, random_tokens
from toy_models.config import TransformerConfig
from toy_models.handmade.catalogue import make
from toy_models.handmade.transforms import change_basis, change_head_basis

SMALL = TransformerConfig(
    n_layers=2, n_heads=1, d_model=8, d_head=4, d_vocab=11, n_ctx=9, positions="standard", normalization="LN"
)
PLAIN = dataclasses.replace(SMALL, normalization="none", positions="none", biases=False)


def run(config):
    model, tokens = random_model(config), random_tokens(config, batch=1)
    seen = record(model, tokens, names=[pattern_name(0), pattern_name(1), scores_name(1)])
    patterns = seen[pattern_name(0)][0, 0], seen[pattern_name(1)][0, 0]
    return weights_of(model), tokens[0], patterns, seen[scores_name(1)][0, 0], seen.output[0]


def test_scores_of_a_second_layer_are_the_direct_q_k_and_double_terms():
    w, t, (A, _), scores, _ = run(PLAIN)
    direct = full_qk(w, (1, 0)).dense()[t][:, t]
    through_key = token_table(w, (0, 0), (1, 0), "K").dense()[t][:, t] @ A.T
    through_query = A @ token_table(w, (0, 0), (1, 0), "Q").dense()[t][:, t]
    moved = w.W_E[t] @ w.W_V[0, 0] @ w.W_O[0, 0]
    both = A @ moved @ w.W_Q[1, 0] @ w.W_K[1, 0].T @ moved.T @ A.T
    total = (direct + through_key + through_query + both) / w.attn_scale
    seen = torch.ones_like(scores, dtype=torch.bool).tril()
    assert float((total - scores)[seen].abs().max()) <= 1e-10


def test_logits_of_two_layers_are_the_direct_path_each_head_and_the_v_term():
    w, t, (A, later), _, logits = run(PLAIN)
    total = direct_path(w).dense()[t] + A @ full_ov(w, (0, 0)).dense()[t] + later @ full_ov(w, (1, 0)).dense()[t]
    total = total + later @ A @ token_table(w, (0, 0), (1, 0), "V").dense()[t]
    assert float((total - logits).abs().max()) <= 1e-10


def test_rotary_terms_turn_by_their_offset():
    w = weights_of(random_model(dataclasses.replace(SMALL, positions="rotary", normalization="none")))
    moved = w.W_E @ w.W_V[0, 0] @ w.W_O[0, 0]
    QK = w.W_Q[1, 0] @ w.rotation(3) @ w.W_K[1, 0].T
    terms: dict[Kind, torch.Tensor] = {"K": w.W_E @ QK @ moved.T, "Q": moved @ QK @ w.W_E.T}
    for kind, expected in terms.items():
        table = token_table(w, (0, 0), (1, 0), kind, offset=3).dense()
        assert float((table - expected).abs().max()) <= 1e-12
        with pytest.raises(InputError, match="pass offset"):
            token_table(w, (0, 0), (1, 0), kind)
    assert token_table(w, (0, 0), (1, 0), "V").shape == (11, 11)


@pytest.mark.parametrize("positions", ["standard", "shortformer"])
def test_terms_are_the_same_whether_folded_or_not(positions):
    model = random_model(dataclasses.replace(SMALL, positions=positions, n_heads=2))
    folded, raw = weights_of(model), weights_of(model, fold=False)
    for kind in get_args(Kind):
        a = token_table(folded, (0, 1), (1, 0), kind).dense()
        b = token_table(raw, (0, 1), (1, 0), kind).dense()
        assert float((a - b).abs().max()) <= 1e-10
    if positions == "standard":
        a = token_table(folded, (0, 1), (1, 0), "Q", moved="position", other="position").dense()
        b = token_table(raw, (0, 1), (1, 0), "Q", moved="position", other="position").dense()
        assert float((a - b).abs().max()) <= 1e-10


def test_the_handmade_k_model_matches_tokens_through_its_previous_token_head(generator):
    handmade = make("induction_k")
    w = weights_of(handmade.model)
    (earlier,), (later,) = handmade.truth.heads("previous-token"), handmade.truth.heads("induction")
    scores = token_composition(w, earlier, later, "K", generator, draws=99)
    assert float(scores.eigenvalue.value) == pytest.approx(1, abs=1e-9)
    assert float(scores.cosine.value) == pytest.approx(1, abs=1e-9)
    assert float(scores.top1.value) == 1
    assert float(scores.eigenvalue.p_values()) == 0.01
    for kind in ("Q", "V"):
        assert float(token_composition(w, earlier, later, kind, generator, draws=9).cosine.value) == 0
    assert float(diagonal_scores(full_qk(w, later), generator, draws=9).eigenvalue.value) == 0


def test_the_handmade_q_model_matches_the_next_position_through_its_pointer(generator):
    handmade = make("induction_q")
    w = weights_of(handmade.model)
    (earlier,), (later,) = handmade.truth.heads("duplicate-token"), handmade.truth.heads("induction")
    for shift, expected in ((1, 1), (0, 0), (2, 0), (-1, 0)):
        scores = token_composition(
            w, earlier, later, "Q", generator, draws=19, moved="position", other="position", shift=shift
        )
        assert float(scores.top1.value) == pytest.approx(expected, abs=0.04), shift
    assert float(token_composition(w, earlier, later, "Q", generator, draws=9).cosine.value) == 0


def test_the_handmade_two_back_model_copies_through_both_heads(generator):
    handmade = make("two_back")
    w = weights_of(handmade.model)
    scores = token_composition(w, (0, 0), (1, 0), "V", generator, draws=9)
    assert float(scores.eigenvalue.value) == pytest.approx(1, abs=1e-9)
    assert float(diagonal_scores(full_ov(w, (1, 0)), generator, draws=9).eigenvalue.value) == 0


@pytest.mark.parametrize(
    "name, kind, source, shift", [("induction_k", "K", "token", 0), ("induction_q", "Q", "position", 1)]
)
def test_token_space_scores_and_their_nulls_do_not_depend_on_any_basis(name, kind, source, shift):
    handmade = make(name)
    roles = {role: head for head, role in handmade.truth.roles.items()}
    earlier, later = roles.get("previous-token") or roles["duplicate-token"], roles["induction"]

    def score(model):
        seed = torch.Generator().manual_seed(3)
        return token_composition(
            weights_of(model), earlier, later, kind, seed, draws=10, moved=source, other=source, shift=shift
        )

    reference = score(handmade.model)
    generator = torch.Generator().manual_seed(8)
    for changed in (change_basis(handmade.model, generator), change_head_basis(handmade.model, generator)):
        found = score(changed)
        assert abs(float(found.cosine.value - reference.cosine.value)) <= 1e-8
        assert abs(float(found.top1.value - reference.top1.value)) <= 1e-8
        assert abs(float(found.eigenvalue.value - reference.eigenvalue.value)) <= 1e-8
        assert float((found.cosine.draws - reference.cosine.draws).abs().max()) <= 1e-8


def test_heads_that_cannot_feed_each_other_are_refused():
    w = weights_of(random_model(dataclasses.replace(SMALL, n_heads=2)))
    for earlier, later in ((Head(1, 0), Head(0, 0)), (Head(1, 0), Head(1, 1))):
        with pytest.raises(InputError, match=f"L1H0 is not in an earlier layer than {later}"):
            token_table(w, earlier, later, "K")
    with pytest.raises(InputError, match="L0H2"):
        token_table(w, (0, 2), (1, 0), "K")


def test_positions_that_no_head_can_carry_are_refused():
    w = weights_of(random_model(dataclasses.replace(SMALL, positions="shortformer")))
    with pytest.raises(InputError, match="only if they are in the residual stream"):
        token_table(w, (0, 0), (1, 0), "Q", moved="position")
    assert token_table(w, (0, 0), (1, 0), "K", other="position").shape == (9, 11)
