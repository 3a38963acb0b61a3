"""Heads are read and written in one way; hook points are called as TransformerLens calls them."""

import pytest

from interp import names
from interp.errors import InputError
from interp.names import Head, as_head


@pytest.mark.parametrize("text", ["L1H3", "l1h3", "1.3", "a1.h3", "A1.H3", " L1H3 "])
def test_every_spelling_of_a_head_is_read(text):
    assert Head.parse(text) == Head(1, 3)


def test_numbers_of_several_digits_are_read():
    assert Head.parse("L10H27") == Head.parse("10.27") == Head.parse("a10.h27") == Head(10, 27)


@pytest.mark.parametrize("text", ["", "L1", "1", "1.2.3", "L1.H3", "a1h3", "L-1H3", "1,3", "LH", "L1H3x", "layer 1"])
def test_other_spellings_are_refused(text):
    with pytest.raises(InputError, match=r"write layer and head as L1H3, 1\.3 or a1\.h3"):
        Head.parse(text)


def test_a_head_prints_as_it_is_read():
    assert str(Head(0, 11)) == "L0H11"
    assert Head.parse(str(Head(4, 2))) == Head(4, 2)


def test_heads_sort_by_layer_and_then_by_place():
    assert sorted([Head(1, 0), Head(0, 10), Head(0, 2)]) == [Head(0, 2), Head(0, 10), Head(1, 0)]


def test_a_head_indexes_layer_and_head():
    layer, index = Head(1, 3)
    assert (layer, index) == (1, 3)
    assert {Head(1, 3): "here"}[Head.parse("1.3")] == "here"


@pytest.mark.parametrize(
    "head, reason",
    [
        (Head(2, 0), "L2H0 is in layer 2, the model has layers 0 to 1"),
        (Head(-1, 0), "the model has layers 0 to 1"),
        (Head(0, 4), "L0H4 is head 4, a layer of this model has heads 0 to 3"),
        (Head(0, -1), "has heads 0 to 3"),
    ],
)
def test_a_head_that_the_model_lacks_is_refused(head, reason):
    with pytest.raises(InputError, match=reason):
        names.check(head, n_layers=2, n_heads=4)


def test_a_head_that_the_model_has_passes():
    assert names.check(Head(1, 3), n_layers=2, n_heads=4) == Head(1, 3)


def test_names_are_those_of_transformer_lens():
    assert names.pattern_name(1) == "blocks.1.attn.hook_pattern"
    assert names.scores_name(0) == "blocks.0.attn.hook_attn_scores"
    assert names.z_name(12) == "blocks.12.attn.hook_z"
    assert [f(0) for f in (names.q_name, names.k_name, names.v_name)] == [f"blocks.0.attn.hook_{x}" for x in "qkv"]
    assert [f(1) for f in (names.q_input_name, names.k_input_name, names.v_input_name)] == [
        f"blocks.1.hook_{x}_input" for x in "qkv"
    ]
    assert [f(0) for f in (names.resid_pre_name, names.resid_mid_name, names.resid_post_name)] == [
        f"blocks.0.hook_resid_{x}" for x in ("pre", "mid", "post")
    ]
    assert (names.attn_out_name(2), names.mlp_out_name(2)) == ("blocks.2.hook_attn_out", "blocks.2.hook_mlp_out")
    assert (names.embed_name(), names.pos_embed_name()) == ("hook_embed", "hook_pos_embed")
    assert names.scale_name(0) == "blocks.0.ln1.hook_scale"
    assert names.normalized_name(0, "ln2") == "blocks.0.ln2.hook_normalized"
    assert (names.scale_name(None), names.normalized_name(None)) == ("ln_final.hook_scale", "ln_final.hook_normalized")


def test_axes_are_known_by_name():
    assert names.axes_of("blocks.1.attn.hook_pattern") == ("batch", "head", "dest", "src")
    assert names.axes_of("blocks.1.attn.hook_z") == ("batch", "pos", "head", "d_head")
    assert names.axes_of("hook_embed") == ("batch", "pos", "d_model")
    assert names.axes_of("blocks.0.hook_in") is None


def test_axes_known_by_name_are_those_that_our_hook_points_say():
    from toy_models.config import TransformerConfig
    from toy_models.hook_point import HookPoint
    from toy_models.transformer import Transformer

    points = 0
    for options in ({"d_mlp": 4, "normalization": "LN"}, {"positions": "rotary"}):
        for name, module in Transformer(TransformerConfig(**options)).named_modules():
            if isinstance(module, HookPoint):
                assert names.axes_of(name) == module.axes
                points += 1
    assert points > 60


@pytest.mark.parametrize("head", ["L1H3", "1.3", (1, 3), Head(1, 3)])
def test_a_head_may_be_given_by_name_or_by_numbers(head):
    assert as_head(head) == Head(1, 3)


@pytest.mark.parametrize("head", ["head 3", (1,), (1, 2, 3), ("a", "b"), 3, None])
def test_what_names_no_head_is_refused(head):
    with pytest.raises(InputError, match=r"no head is called|a head is named as"):
        as_head(head)
