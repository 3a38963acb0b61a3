"""Heads that stand in for each other, links of one chain, and heads that do not meet: by construction."""

import json

import pytest
import torch

from interp.ablation import head_effects, set_effect
from interp.ablation.redundancy import interactions, pairs_within
from interp.errors import InputError
from interp.heads import Protocol, predictable_positions, repeated_tokens
from interp.names import Head
from toy_models import handmade
from toy_models.config import TransformerConfig
from toy_models.transformer import Transformer


def found_in(name, sets, n=5, **options):
    made = handmade.make(name)
    protocol = Protocol(2, 15, d_vocab=16, bos=0)
    tokens = repeated_tokens(protocol, n, torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(0)
    return interactions(made.model, sets, tokens, predictable_positions(protocol, n), generator, **options)


def random_case(generator, **options):
    sizes = {"n_layers": 2, "n_heads": 3, "d_model": 12, "d_head": 5, "d_vocab": 11, "n_ctx": 10}
    model = Transformer(TransformerConfig(**{**sizes, **options}), generator).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    tokens = torch.randint(11, (6, 10), generator=generator)
    return model, tokens, (torch.arange(10) > 4).expand_as(tokens).clone()


@pytest.mark.parametrize("to", ["mean", "zero"])
def test_feeders_that_share_by_strength_stand_in_for_each_other(to):
    pair = (Head(0, 0), Head(0, 1))
    found = found_in("induction_shared", [pair], to=to)
    assert all(single.mean == pytest.approx(0, abs=0.05) for single in found.singles.values())
    assert found.joint[0].mean > 1
    assert found[pair].mean == pytest.approx(found.joint[0].mean, abs=0.1)
    assert found[pair].low > 1


def test_a_resampled_feeder_talks_over_its_backup():
    """Half the match is at the right place, half at another that may come twice: at most half of 12 logits are left."""
    pair = (Head(0, 0), Head(0, 1))
    found = found_in("induction_shared", [pair], to="resample")
    even = torch.tensor([6.0, 6.0] + [0.0] * 14, dtype=torch.float64).log_softmax(-1)
    for single in found.singles.values():
        assert single.mean > -float(even[0])
    assert found[pair].mean == pytest.approx(found.joint[0].mean - sum(each.mean for each in found.singles.values()))


@pytest.mark.parametrize("name", ["induction_k", "induction_q"])
def test_links_of_one_chain_cost_less_together_than_one_by_one(name):
    """Without the reader, removing its feeder changes nothing more: the interaction is minus the feeder's effect."""
    pair = (Head(0, 0), Head(1, 0))
    found = found_in(name, [pair], to="zero")
    assert found[pair].mean == pytest.approx(-found.singles[Head(0, 0)].mean, abs=1e-6)
    assert found[pair].high < -1


def test_a_head_that_does_nothing_interacts_with_nobody():
    pair = (Head(1, 0), Head(1, 1))
    found = found_in("induction_shared", [pair], to="zero")
    assert found[pair].mean == pytest.approx(0, abs=1e-9)
    assert found.singles[pair[0]].mean > 1


def test_patterns_held_take_the_interaction_of_feeders_away():
    pair = (Head(0, 0), Head(0, 1))
    assert found_in("induction_shared", [pair], to="zero", hold_patterns=True)[pair].mean == pytest.approx(0, abs=1e-9)


def test_interactions_are_set_effects_minus_single_effects(generator):
    model, tokens, scored = random_case(generator)
    sets = [(Head(0, 0), Head(1, 2)), (Head(0, 1), Head(0, 2), Head(1, 1))]
    found = interactions(model, sets, tokens, scored, generator)
    single = head_effects(model, tokens, scored, generator)
    for i, heads in enumerate(sets):
        whole = set_effect(model, heads, tokens, scored, generator, n_random=1)
        for quantity in ("loss", "logit"):
            parts = sum(float(getattr(single, quantity).score[head]) for head in heads)
            expected = getattr(whole, quantity).mean - parts
            assert getattr(found, quantity)[i].mean == pytest.approx(expected, abs=1e-9)
        assert found.joint[i].mean == pytest.approx(whole.loss.mean)
        assert found.loss[i].low < found.loss[i].mean < found.loss[i].high
    assert found.singles[Head(1, 2)].mean == pytest.approx(float(single.loss.score[1, 2]))


def test_heads_of_the_last_layer_add_up_in_the_logit_and_not_in_the_loss(generator):
    """Without normalisation each adds its own to the logits."""
    model, tokens, scored = random_case(generator, normalization="none")
    found = interactions(model, pairs_within(1, 3), tokens, scored, generator)
    assert float(found.logit.mean.abs().max()) < 1e-12
    assert float(found.loss.mean.abs().max()) > 1e-3
    earlier = interactions(model, pairs_within(0, 3), tokens, scored, generator)
    assert float(earlier.logit.mean.abs().max()) > 1e-3


def test_the_table_of_a_layer_has_every_pair_once_in_any_order(generator):
    model, tokens, scored = random_case(generator)
    found = interactions(model, pairs_within(1, 3), tokens, scored, generator)
    assert [tuple(map(str, pair)) for pair in found.sets] == [("L1H0", "L1H1"), ("L1H0", "L1H2"), ("L1H1", "L1H2")]
    assert found[Head(1, 2), Head(1, 0)] == found.loss[1]
    assert json.loads(json.dumps(found.to_dict()))["sets"][1]["loss"]["mean"] == found.loss[1].mean
    with pytest.raises(InputError, match=r"L0H0 \+ L1H0 was not measured"):
        found[Head(0, 0), Head(1, 0)]


def test_q_values_tell_a_backup_pair_from_idle_ones_after_adjustment():
    sets = [(Head(0, 0), Head(0, 1)), (Head(1, 0), Head(1, 1))]
    q_values = found_in("induction_shared", sets, n=12, to="zero").q_values
    assert float(q_values[0]) == pytest.approx(2 / 2**12 * 2 * 1.5)  # 2 of 4096 signs; two sets, 1 + 1/2
    assert float(q_values[1]) == 1


def test_sets_that_cannot_interact_are_refused(generator):
    model, tokens, scored = random_case(generator)
    with pytest.raises(InputError, match="two different heads or more, got L0H1"):
        interactions(model, [(Head(0, 1), Head(0, 1))], tokens, scored, generator)
    with pytest.raises(InputError, match="two different heads or more, got none"):
        interactions(model, [()], tokens, scored, generator)
    with pytest.raises(InputError, match="at least one set"):
        interactions(model, [], tokens, scored, generator)
    with pytest.raises(InputError, match="L0H3 is head 3"):
        interactions(model, [(Head(0, 3), Head(0, 1))], tokens, scored, generator)
