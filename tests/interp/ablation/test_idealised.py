"""Heads with textbook patterns: all is recovered where the head is one by construction, and nothing where it is not."""

import json
from dataclasses import replace

import pytest
import torch

from interp.ablation import set_effect
from interp.ablation.ideal_patterns import CURRENT_TOKEN, FIRST_TOKEN, INDUCTION, LONG_INDUCTION, PREVIOUS_TOKEN, back
from interp.ablation.idealised import idealised_recovery
from interp.errors import InputError
from interp.heads import Protocol, predictable_positions, repeated_tokens
from interp.names import Head
from interp.paths import freeze
from interp.paths.frozen_terms import residual_without
from toy_models import handmade
from toy_models.bridge import to_bridge
from toy_models.config import TransformerConfig
from toy_models.transformer import Transformer

FEEDER, READER = Head(0, 0), Head(1, 0)


def recovery(name, patterns, period=15, repeats=2, **options):
    made = handmade.make(name)
    protocol = Protocol(repeats, period, d_vocab=16, bos=0)
    tokens = repeated_tokens(protocol, 5, torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(0)
    return idealised_recovery(made.model, patterns, tokens, predictable_positions(protocol, 5), generator, **options)


def random_case(generator, **options):
    sizes = {"n_layers": 2, "n_heads": 3, "d_model": 12, "d_head": 5, "d_vocab": 11, "n_ctx": 10}
    model = Transformer(TransformerConfig(**{**sizes, **options}), generator).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    tokens = torch.randint(11, (6, 10), generator=generator)
    return model, tokens, (torch.arange(10) > 4).expand_as(tokens).clone()


@pytest.mark.parametrize("to", ["mean", "zero", "resample"])
@pytest.mark.parametrize(
    "name, patterns",
    [
        ("induction_k", {FEEDER: PREVIOUS_TOKEN}),
        ("induction_k", {READER: INDUCTION}),
        ("induction_k", {FEEDER: PREVIOUS_TOKEN, READER: INDUCTION}),
        ("induction_q", {READER: INDUCTION}),
        ("induction_smeared", {Head(0, 0): INDUCTION}),
    ],
)
def test_handmade_heads_are_recovered_whole_and_not_one_position_off(name, patterns, to):
    found = recovery(name, patterns, to=to)
    assert found.gap.low > 1
    assert found.share is not None
    assert found.control is not None
    assert found.share.mean == pytest.approx(1, abs=1e-3)
    assert found.share.high - found.share.low < 1e-3
    assert found.control.mean < 0.3


def test_two_previous_token_heads_in_a_row_are_recovered_alone_and_together():
    """The token two back is the next one where three tokens repeat."""
    for patterns in ({FEEDER: PREVIOUS_TOKEN}, {READER: PREVIOUS_TOKEN}, dict.fromkeys([FEEDER, READER], back(1))):
        found = recovery("two_back", patterns, period=3, repeats=6)
        assert found.losses["intact"] == pytest.approx(0, abs=1e-3)
        assert found.share is not None
        assert found.control is not None
        assert found.share.mean == pytest.approx(1, abs=1e-3)
        assert found.control.mean < 0.3


@pytest.mark.parametrize(
    "name, patterns",
    [
        ("induction_q", {FEEDER: PREVIOUS_TOKEN}),  # it points at the copy instead
        ("induction_k", {FEEDER: CURRENT_TOKEN}),
        ("induction_k", {READER: PREVIOUS_TOKEN}),
        ("induction_k", {READER: FIRST_TOKEN}),
    ],
)
def test_a_head_with_a_pattern_that_is_not_its_own_recovers_nothing(name, patterns):
    found = recovery(name, patterns)
    assert found.share is not None
    assert found.share.high < 0.1


@pytest.mark.parametrize(
    "name, patterns",
    [
        ("unread_previous_token", {FEEDER: PREVIOUS_TOKEN}),  # nobody reads it
        ("induction_shared", {FEEDER: PREVIOUS_TOKEN}),  # another head stands in
        ("anti_copying", {READER: INDUCTION}),  # the loss falls without it
    ],
)
def test_without_a_gap_there_is_no_share(name, patterns):
    found = recovery(name, patterns)
    assert found.gap.mean < 0.01
    assert (found.share, found.control, found.contrast) == (None, None, None)
    assert json.loads(json.dumps(found.to_dict()))["share"] is None


def test_heads_that_stand_in_for_each_other_are_recovered_together():
    found = recovery("induction_shared", dict.fromkeys([Head(0, 0), Head(0, 1)], PREVIOUS_TOKEN))
    assert found.gap.low > 1
    assert found.share is not None
    assert found.share.mean == pytest.approx(1, abs=1e-3)


def test_a_longer_match_recovers_more_than_all_where_one_token_is_ambiguous():
    """[1][2][3] .. [4][2][5] .. [1][2]: the model looks evenly at two places, the longer match at the right one."""
    made = handmade.make("induction_k")
    tokens = torch.tensor([[0, 1, 2, 3, 4, 2, 5, 1, 2, 3], [0, 6, 7, 8, 9, 7, 10, 6, 7, 8]])
    scored = (torch.arange(10) == 9).expand_as(tokens).clone()
    both = [
        idealised_recovery(made.model, {READER: p}, tokens, scored, torch.Generator().manual_seed(0), to="zero")
        for p in (INDUCTION, LONG_INDUCTION)
    ]
    even = torch.tensor([6.0, 6.0] + [0.0] * 14, dtype=torch.float64)
    halved, copied = (-float(x.log_softmax(-1)[0]) for x in (even, even * torch.tensor([2.0] + [0.0] * 15)))
    assert both[0].losses["idealised"] == pytest.approx(halved)
    assert both[1].losses["idealised"] == pytest.approx(copied)
    ablated = torch.tensor(16.0).double().log().item()
    shares = [each.share.mean for each in both if each.share]
    assert shares == pytest.approx([1, (ablated - copied) / (ablated - halved)], abs=1e-6)


def test_idealised_losses_equal_the_formula_with_another_pattern_in_the_last_layer(generator):
    model, tokens, scored = random_case(generator, normalization="none")
    found = idealised_recovery(model, {Head(1, 2): INDUCTION, Head(1, 0): PREVIOUS_TOKEN}, tokens, scored, generator)
    run = freeze(model, tokens)
    for which, ideal in (("idealised", (PREVIOUS_TOKEN, INDUCTION)), ("shifted", (back(2), INDUCTION.wrong))):
        pattern = torch.stack([ideal[0](tokens), run.patterns[1][:, 1], ideal[1](tokens)], dim=1)
        residual = residual_without(replace(run, patterns=(run.patterns[0], pattern)), [])
        log_p = (residual @ run.weights.W_U + run.weights.b_U).log_softmax(-1)
        expected = -log_p[:, :-1].gather(-1, tokens[:, 1:, None])[:, 4:].mean()
        assert found.losses[which] == pytest.approx(float(expected), abs=1e-9)


@pytest.mark.parametrize("to", ["mean", "zero"])
def test_shares_are_ratios_of_mean_losses_against_the_stated_ablation(generator, to):
    model = handmade.make("induction_k", sharpness=6.0).model  # attends to other places, too
    tokens = torch.randint(16, (8, 12), generator=generator).repeat(1, 2)
    scored = (torch.arange(24) > 12).expand_as(tokens).clone()
    heads = [FEEDER, READER]
    effect = set_effect(model, heads, tokens, scored, generator, to=to)
    found = idealised_recovery(model, dict.fromkeys(heads, LONG_INDUCTION), tokens, scored, generator, to=to)
    loss = found.losses
    assert found.gap.mean == pytest.approx(effect.loss.mean)
    assert found.share is not None
    assert found.control is not None
    assert found.contrast is not None
    gap = loss["ablated"] - loss["intact"]
    assert found.share.mean == pytest.approx((loss["ablated"] - loss["idealised"]) / gap)
    assert found.control.mean == pytest.approx((loss["ablated"] - loss["shifted"]) / gap)
    assert found.contrast.mean == pytest.approx(found.share.mean - found.control.mean)
    assert found.share.low < found.share.mean < found.share.high
    assert ("zero" in found.text) == (to == "zero")


def test_a_transformerlens_bridge_recovers_the_same(generator):
    model, tokens, scored = random_case(generator)
    patterns = {Head(0, 0): PREVIOUS_TOKEN, Head(1, 1): INDUCTION}
    ours, theirs = (
        idealised_recovery(m, patterns, tokens, scored, torch.Generator().manual_seed(0)).losses
        for m in (model, to_bridge(model))
    )
    assert theirs == pytest.approx(ours, abs=1e-5)
    assert abs(ours["idealised"] - ours["intact"]) > 1e-3


def test_recoveries_read_as_json_and_leave_model_and_tokens_alone(generator):
    model, tokens, scored = random_case(generator)
    before = tokens.clone(), model(tokens).detach()
    found = idealised_recovery(model, {Head(0, 1): PREVIOUS_TOKEN}, tokens, scored, generator)
    written = json.loads(json.dumps(found.to_dict()))
    assert written["patterns"]["L0H1"]["name"] == "previous-token"
    assert written["patterns"]["L0H1"]["control"] == "on the token 2 before the query"
    assert written["losses"] == found.losses
    assert "ablated: removed heads write their mean over batch and positions" in written["protocol"]
    assert torch.equal(tokens, before[0])
    assert torch.equal(model(tokens), before[1])


def test_heads_that_do_not_exist_or_none_are_refused(generator):
    model, tokens, scored = random_case(generator)
    with pytest.raises(InputError, match="at least one head and the pattern"):
        idealised_recovery(model, {}, tokens, scored, generator)
    with pytest.raises(InputError, match="L1H3 is head 3"):
        idealised_recovery(model, {Head(1, 3): INDUCTION}, tokens, scored, generator)
    with pytest.raises(InputError, match="position 0 cannot be scored"):
        idealised_recovery(model, {Head(1, 1): INDUCTION}, tokens, torch.ones_like(scored), generator)
