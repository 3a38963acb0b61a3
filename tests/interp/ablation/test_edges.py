"""Taking one head's output out of another's input: against known wiring, and against the formula written out."""

import json
import math

import pytest
import torch

from interp.ablation import edge_effects, fewest_enough
from interp.errors import InputError
from interp.heads import Protocol, predictable_positions, repeated_tokens
from interp.heads.detectors import DUPLICATE_TOKEN, PREFIX_MATCHING, PREVIOUS_TOKEN, VALUE_WEIGHTED_PREFIX_MATCHING
from interp.hooks import record
from interp.names import Head
from toy_models import handmade
from toy_models.config import TransformerConfig
from toy_models.transformer import Transformer


def effects_of(name, reader=Head(1, 0), **options):  # noqa: B008 - a head is immutable
    made = handmade.make(name)
    protocol = Protocol(2, 15, d_vocab=16, bos=0)
    tokens = repeated_tokens(protocol, 5, torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(0)
    return edge_effects(made.model, reader, tokens, predictable_positions(protocol, 5), generator, **options)


def fewest(name, order, lost=0.1, **options):
    made = handmade.make(name)
    protocol = Protocol(2, 15, d_vocab=16, bos=0)
    tokens = repeated_tokens(protocol, 5, torch.Generator().manual_seed(0))
    scored, generator = predictable_positions(protocol, 5), torch.Generator().manual_seed(0)
    return fewest_enough(made.model, Head(1, 0), "K", order, tokens, scored, generator, lost=lost, **options)


def test_one_of_two_feeders_that_stand_in_for_each_other_is_enough():
    for order in ([Head(0, 0), Head(0, 1)], [Head(0, 1), Head(0, 0)]):
        heads, lost = fewest("induction_shared", order, ahead=1)
        assert heads == (order[0],)
        alone = effects_of("induction_shared").channels["K"].alone.score[0, order[0].index]
        assert lost.mean == pytest.approx(float(alone), abs=1e-9)


def test_heads_are_kept_until_the_rest_is_not_missed_and_an_empty_order_is_refused():
    assert fewest("induction_k", [Head(0, 0)])[1].mean == 0
    order = [Head(0, 1), Head(0, 0)]
    heads, lost = fewest("induction_shared", order, lost=-1.0)
    assert (heads, lost.mean) == (tuple(order), 0.0)
    with pytest.raises(InputError, match="order names no earlier head"):
        fewest("induction_k", [])


@pytest.mark.parametrize("to", ["mean", "zero"])
@pytest.mark.parametrize("name, channel", [("induction_k", "K"), ("induction_q", "Q")])
def test_an_induction_head_loses_its_prefix_matching_without_its_feeder_in_the_right_input(name, channel, to):
    effects = effects_of(name, to=to)
    assert effects.intact.mean == pytest.approx(1, abs=1e-6)
    assert effects.intact_loss.mean == pytest.approx(0, abs=1e-3)
    for other, found in effects.channels.items():
        if other == channel:
            assert float(found.drop.score[0, 0]) > 0.9
            assert float(found.loss.score[0, 0]) > 1
        else:
            assert float(found.drop.score.abs().max()) < 1e-6
            assert float(found.loss.score.abs().max()) < 1e-3
        assert found.together_drop.mean == pytest.approx(float(found.drop.score[0, 0]))
        assert found.alone.score.tolist() == [[0.0]]


def test_without_its_feeder_a_k_composition_head_attends_evenly():
    """Zeroed keys match nothing: what is left of prefix matching is one entry of dest + 1."""
    drop = effects_of("induction_k", to="zero").channels["K"].drop
    even = sum(1 / (i + 1) for i in range(16, 31)) / 15
    assert float(drop.score[0, 0]) == pytest.approx(1 - even, abs=1e-6)


def test_feeders_that_stand_in_for_each_other_show_together_only():
    found = effects_of("induction_shared").channels["K"]
    assert float(found.drop.score.max()) < 0.05
    assert float(found.alone.score.max()) < 0.05
    assert found.together_drop.mean > 0.9
    assert found.together_loss.mean > 1


def test_a_second_feeder_that_does_nothing_is_told_from_the_first():
    """Of the two ways of induction, each reader has its own feeder, the other one's does not reach it."""
    effects = effects_of("induction_both")
    key = effects.channels["K"]
    assert float(key.drop.score[0, 0]) > 0.9
    assert float(key.drop.score[0, 1].abs()) < 1e-6
    assert float(key.alone.score[0, 0]) == pytest.approx(0, abs=1e-6)
    assert float(key.alone.score[0, 1]) > 0.9
    assert key.drop.nulls["other heads of its layer"].tolist() == key.drop.score.flip(-1).tolist()


def test_v_composition_leaves_the_pattern_and_moves_the_loss():
    found = effects_of("two_back", score=PREVIOUS_TOKEN, to="zero").channels
    assert float(found["V"].drop.score.abs().max()) == 0
    assert float(found["V"].loss.score[0, 0].abs()) > 0.1
    for channel in ("Q", "K"):
        assert float(found[channel].drop.score.abs().max()) < 1e-6
        assert float(found[channel].loss.score.abs().max()) < 1e-6


def test_heads_of_every_earlier_layer_are_taken_out():
    effects = effects_of("three_layer_chain", reader=Head(2, 0), score=PREVIOUS_TOKEN)
    assert effects.channels["V"].loss.score.shape == (2, 1)
    # Layer 2 reads what layer 1 wrote; layer 0 reaches it by way of layer 1 only.
    assert float(effects.channels["V"].loss.score[1, 0].abs()) > 0.01
    assert float(effects.channels["V"].loss.score[0, 0].abs()) < 1e-9


@pytest.mark.parametrize("normalization", ["none", "LN", "RMS"])
@pytest.mark.parametrize("to", ["mean", "zero"])
def test_taking_out_equals_the_formula_written_out(generator, normalization, to):
    """q, k and v of one head from the residual stream less z_e W_O_e, then the pattern and the logits."""
    config = TransformerConfig(d_model=12, d_head=5, n_heads=3, d_vocab=9, n_ctx=10, normalization=normalization)
    model = Transformer(config, generator).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.4 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    tokens = torch.randint(9, (4, 10), generator=generator)
    scored = (torch.arange(10) > 4).expand_as(tokens).clone()
    reader, earlier = 1, 2
    found = edge_effects(model, Head(1, reader), tokens, scored, generator, score=DUPLICATE_TOKEN, to=to)

    cache = record(model, tokens, names=["blocks.0.attn.hook_z", "blocks.1.hook_resid_pre", "blocks.1.hook_resid_post"])
    z = cache["blocks.0.attn.hook_z"][:, :, earlier]
    z = z - z.mean((0, 1)) if to == "mean" else z
    residual, block = cache["blocks.1.hook_resid_pre"], model.blocks[1]
    reduced = residual - z @ model.blocks[0].attn.W_O[earlier]
    future = torch.ones(10, 10).triu(1).bool()

    def read(letter, x):
        weights = getattr(block.attn, f"W_{letter}")[reader], getattr(block.attn, f"b_{letter}")[reader]
        return block.ln1(x) @ weights[0] + weights[1]

    def outcome(channel):
        q, k, v = (read(letter, reduced if letter == channel else residual) for letter in "QKV")
        pattern = (q @ k.transpose(1, 2) / math.sqrt(5)).masked_fill(future, -math.inf).softmax(-1)
        return pattern, pattern @ v @ block.attn.W_O[reader]

    with torch.no_grad():
        pattern, out = outcome("none")
        for channel, seen in found.channels.items():
            changed, changed_out = outcome(channel)
            drop = DUPLICATE_TOKEN(pattern[:, None], tokens) - DUPLICATE_TOKEN(changed[:, None], tokens)
            assert seen.drop.samples[:, 0, earlier].tolist() == pytest.approx(drop[:, 0].tolist(), abs=1e-9)
            final = cache["blocks.1.hook_resid_post"] - out + changed_out
            loss = [
                torch.nn.functional.cross_entropy(logits[:, 4:9].transpose(1, 2), tokens[:, 5:], reduction="none").mean(
                    1
                )
                for logits in (model.unembed(model.ln_final(final), model.embed.W_E), model(tokens))
            ]
            expected = (loss[0] - loss[1]).tolist()
            assert seen.loss.samples[:, 0, earlier].tolist() == pytest.approx(expected, abs=1e-9)


def test_any_score_of_patterns_can_be_measured():
    whole = effects_of("induction_k", score=lambda pattern, tokens: pattern.sum((-1, -2)))
    assert whole.intact.mean == pytest.approx(31)
    assert float(whole.channels["K"].drop.score.abs().max()) < 1e-9


def test_channels_can_be_chosen_and_all_goes_to_json():
    effects = effects_of("induction_k", channels=["K"])
    written = json.loads(json.dumps(effects.to_dict()))
    assert list(written["channels"]) == ["K"]
    assert written["reader"] == "L1H0"
    assert "direct paths to L1H0 only" in written["protocol"]
    assert written["channels"]["K"]["drop"]["score"] == effects.channels["K"].drop.score.tolist()


def test_what_has_no_earlier_head_is_refused(generator):
    with pytest.raises(InputError, match="L0H0 is in the first layer"):
        effects_of("induction_k", reader=Head(0, 0))
    with pytest.raises(InputError, match="L1H4 is head 4"):
        effects_of("induction_k", reader=Head(1, 4))
    with pytest.raises(InputError, match="for value-weighted ones"):
        effects_of("induction_k", score=VALUE_WEIGHTED_PREFIX_MATCHING)
    model = Transformer(TransformerConfig(d_model=8, d_head=4, d_vocab=9, n_ctx=8), generator)
    tokens = torch.randint(9, (3, 8), generator=generator)
    scored = (torch.arange(8) > 3).expand_as(tokens).clone()
    assert edge_effects(model, Head(1, 0), tokens, scored, generator, score=PREFIX_MATCHING).reader == (1, 0)
