"""The share of the gain that heads carry: known circuits, and a twin that takes weights out instead of activations."""

from copy import deepcopy
from math import comb

import pytest
import torch

from interp.errors import InputError
from interp.heads import olsson_protocol, predictable_positions, repeated_tokens
from interp.in_context import carried_share, loss_by_position
from interp.in_context.carried import sets_like
from interp.names import Head
from interp.weights.shape import ModelShape
from toy_models.config import TransformerConfig
from toy_models.handmade import make
from toy_models.transformer import Transformer

PROTOCOL = olsson_protocol(16, 34, 0)
PREDICTABLE = predictable_positions(PROTOCOL, 8)
CIRCUITS = {
    "induction_k": [(0, 0), (1, 0)],
    "induction_q": [(0, 0), (1, 0)],
    "induction_smeared": [(0, 0)],
    "induction_both": [(0, 0), (0, 1), (1, 0), (1, 1)],
    "induction_shared": [(0, 0), (0, 1), (1, 0)],
}


@pytest.fixture
def tokens(generator):
    return repeated_tokens(PROTOCOL, 8, generator)


def carried(name, heads, tokens, generator, **options):
    model = make(name).model
    return carried_share(model, [Head(*head) for head in heads], tokens, PREDICTABLE, generator, **options)


@pytest.mark.parametrize("name", CIRCUITS)
def test_the_whole_circuit_carries_all_of_the_gain(name, tokens, generator):
    found = carried(name, CIRCUITS[name], tokens, generator, most=5)
    for to in ("mean", "resample"):
        assert found.by[to].kept.mean == pytest.approx(1.0, abs=1e-6)
    # Without it nothing is read: the loss is that of a constant prediction at every position.
    assert found.by["mean"].lost.mean == pytest.approx(1.0, abs=0.01)
    assert found.reason == ""


def twin_gain(model, tokens, generator, removed):
    """Heads removed by setting their output weights to zero."""
    twin = deepcopy(model)
    with torch.no_grad():
        for layer, index in removed:
            twin.blocks[layer].attn.W_O[index] = 0
    return loss_by_position(twin, tokens, generator).gain(PREDICTABLE)


@pytest.mark.parametrize("heads", [[(0, 0), (1, 0)], [(0, 1)], [(1, 1)], [(0, 0), (0, 1), (1, 1)]])
def test_shares_are_those_of_models_whose_weights_are_taken_out(heads, tokens, generator):
    model, everything = make("induction_both").model, [(0, 0), (0, 1), (1, 0), (1, 1)]
    found = carried("induction_both", heads, tokens, generator, ways=("zero",), most=1).by["zero"]
    intact = float(twin_gain(model, tokens, generator, []).mean())
    without = float(twin_gain(model, tokens, generator, heads).mean())
    alone = float(twin_gain(model, tokens, generator, [head for head in everything if head not in heads]).mean())
    assert found.lost.mean == pytest.approx(1 - without / intact, abs=1e-9)
    assert found.kept.mean == pytest.approx(alone / intact, abs=1e-9)


def test_intervals_hold_the_share_where_sequences_differ(generator):
    model = Transformer(TransformerConfig(d_vocab=16, n_ctx=34, init_range=0.6), torch.Generator().manual_seed(3))
    tokens = repeated_tokens(PROTOCOL, 8, generator)
    losses = loss_by_position(model, tokens, generator).gain(PREDICTABLE)
    found = carried_share(model, [Head(1, 0)], tokens, PREDICTABLE, generator)
    assert found.gain.mean == pytest.approx(float(losses.mean()), abs=1e-6)
    for shares in found.by.values():
        assert shares.lost.low < shares.lost.mean < shares.lost.high


def test_half_the_circuit_is_not_beaten_by_sets_of_idle_heads_but_the_circuit_beats_them(tokens, generator):
    found = carried("induction_shared", CIRCUITS["induction_shared"], tokens, generator)
    assert found.others is not None
    assert found.others.sets == ((Head(0, 0), Head(0, 1), Head(1, 1)),)
    assert found.others.kept.tolist() == pytest.approx([0.0], abs=0.02)  # without L1H0 nothing reaches the logits
    assert found.others.p_kept == 0.5  # 1 + 0 of 1 + 1
    assert found.others.text == "all 1 other sets of 2 + 1 heads by layer"
    assert carried("induction_shared", [(0, 0), (1, 1)], tokens, generator).others.p_kept > 0.5


def test_an_untrained_model_has_no_gain_to_share(generator):
    model = Transformer(TransformerConfig(), torch.Generator().manual_seed(0))
    protocol = olsson_protocol(64, 64, 0)
    tokens, predictable = repeated_tokens(protocol, 32, generator), predictable_positions(protocol, 32)
    found = carried_share(model, [Head(0, 0)], tokens, predictable, generator)
    assert found.gain.low <= 0.01
    assert (found.by, found.others) == ({}, None)
    assert "cannot be told from 0" in found.reason
    assert found.to_dict()["by"] == {}


def test_all_heads_keep_everything_and_have_no_other_set(tokens, generator):
    found = carried("induction_both", CIRCUITS["induction_both"], tokens, generator)
    assert found.by["mean"].kept.mean == 1.0
    assert found.others is None


def test_other_sets_have_as_many_heads_in_each_layer_and_differ(generator):
    shape = ModelShape(2, 6, 20, 12)
    chosen = (Head(0, 1), Head(1, 2), Head(1, 4))
    every, text = sets_like(shape, chosen, 200, generator)
    assert len(set(every)) == 6 * comb(6, 2) - 1 == len(every)
    assert text == "all 89 other sets of 1 + 2 heads by layer"
    some, text = sets_like(shape, chosen, 20, generator)
    assert len(set(some)) == 20
    assert text == "20 random ones of 89 other sets of 1 + 2 heads by layer"
    for each in every + some:
        assert each != chosen
        assert sum(head.layer == 0 for head in each) == 1
        assert len(set(each)) == 3
    assert set(some) <= set(every)


def test_a_share_needs_a_head_and_both_kinds_of_token(tokens, generator):
    with pytest.raises(InputError, match="at least one head"):
        carried("induction_k", [], tokens, generator)
    mask = torch.ones_like(PREDICTABLE)
    mask[:, 0] = False
    with pytest.raises(InputError, match="a predictable and an unpredictable token"):
        carried_share(make("induction_k").model, [Head(0, 0)], tokens, mask, generator)
