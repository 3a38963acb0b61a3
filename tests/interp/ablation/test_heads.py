"""Removing heads: against known losses of handmade models, and against models whose weights were changed instead."""

import copy
import json
import math

import pytest
import torch

from interp.ablation import head_effects, removal, set_effect, token_losses
from interp.ablation.losses import scored_masks, sequence_means
from interp.errors import InputError
from interp.heads import Protocol, predictable_positions, repeated_tokens
from interp.hooks import intervene, record
from interp.names import Head
from toy_models import handmade
from toy_models.bridge import to_bridge
from toy_models.config import TransformerConfig
from toy_models.transformer import Transformer

SMALL = {"n_layers": 2, "n_heads": 3, "d_model": 12, "d_head": 5, "d_vocab": 11, "n_ctx": 10}


def random_model(generator, **options):
    model = Transformer(TransformerConfig(**{**SMALL, **options}), generator).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model


def some_tokens(generator, n=6):
    return torch.randint(11, (n, 10), generator=generator)


def second_half(tokens):
    return (torch.arange(tokens.shape[1]) >= tokens.shape[1] // 2).expand_as(tokens).clone()


def without(model, heads, means=None):
    """A copy whose heads write nothing, or a constant: by its weights."""
    changed = copy.deepcopy(model)
    with torch.no_grad():
        for layer, index in heads:
            attention = changed.blocks[layer].attn
            if means is not None:
                attention.b_O += means[layer][0, 0, index] @ attention.W_O[index]
            attention.W_O[index] = 0
    return changed


def losses_of(model, tokens, scored):
    """Mean loss of each sequence's scored tokens, by a loop."""
    with torch.no_grad():
        log_p = model(tokens).log_softmax(-1)
    return [
        sum(-float(log_p[b, i - 1, tokens[b, i]]) for i in range(1, tokens.shape[1]) if scored[b, i])
        / int(scored[b].sum())
        for b in range(len(tokens))
    ]


def test_token_losses_equal_cross_entropy(generator):
    logits, tokens = torch.randn(3, 7, 11, generator=generator), torch.randint(11, (3, 7), generator=generator)
    losses = token_losses(logits, tokens)
    expected = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), reduction="none"
    )
    assert torch.allclose(losses[:, 1:].flatten(), expected.double(), atol=1e-6)
    assert losses[:, 0].tolist() == [0, 0, 0]


def test_loss_logit_and_probability_are_those_of_the_token_that_comes(generator):
    model, tokens = random_model(generator), some_tokens(generator)
    scored = torch.zeros_like(tokens, dtype=torch.bool)
    scored[:, 4] = True
    values = sequence_means(model, tokens, scored_masks(tokens, scored))
    with torch.no_grad():
        logits = model(tokens)
    for b in range(6):
        row, target = logits[b, 3], tokens[b, 4]
        p = float(row.softmax(-1)[target])
        assert values[0, :, b].tolist() == pytest.approx([-math.log(p), float(row[target]), p])
    assert values[1, 0].tolist() == pytest.approx(losses_of(model, tokens, ~scored & (torch.arange(10) > 0)))


@pytest.mark.parametrize(
    "name, quantity",
    [(name, "loss without") for name in ("induction_k", "induction_q", "induction_both", "induction_shared")]
    + [("induction_smeared", "loss without"), ("positional", "loss without")]
    + [(name, "next-token loss without") for name in ("no_copy", "anti_copying", "first_token_sink")],
)
def test_zero_ablation_finds_the_known_losses_of_handmade_models(name, quantity, generator):
    made = handmade.make(name)
    tokens = made.example_tokens
    scored = torch.zeros_like(tokens, dtype=torch.bool)
    scored[:, 1:] = made.repeated[:, :-1]
    if quantity == "loss without":  # it speaks of the model's answers, here the next tokens
        assert torch.equal(made.answers[:, :-1][scored[:, 1:]], tokens[scored])
    known = {e.at[0]: e for e in made.truth.expected if e.quantity == quantity and len(e.at) == 1}
    assert known
    effects = head_effects(made.model, tokens, scored, generator, to="zero")
    for head, expected in known.items():
        measured = effects.intact["loss"] + float(effects.loss.score[head])
        assert measured == pytest.approx(expected.value, abs=expected.tolerance)


@pytest.mark.parametrize("normalization", ["none", "LN"])
def test_zero_ablation_equals_a_model_whose_head_has_no_output_weights(generator, normalization):
    model, tokens = random_model(generator, normalization=normalization), some_tokens(generator)
    scored = second_half(tokens)
    effects = head_effects(model, tokens, scored, generator, to="zero")
    intact = losses_of(model, tokens, scored)
    for layer in range(2):
        for index in range(3):
            changed = losses_of(without(model, [(layer, index)]), tokens, scored)
            expected = [a - b for a, b in zip(changed, intact, strict=True)]
            assert effects.loss.samples[:, layer, index].tolist() == pytest.approx(expected, abs=1e-9)
    assert effects.intact["loss"] == pytest.approx(sum(intact) / 6)


@pytest.mark.parametrize("given", [False, True])
def test_mean_ablation_equals_a_model_whose_head_writes_its_mean(generator, given):
    model, tokens = random_model(generator), some_tokens(generator)
    reference = torch.randint(11, (9, 7), generator=generator) if given else None
    scored = second_half(tokens)
    effects = head_effects(model, tokens, scored, generator, reference=reference)
    z = record(model, tokens if reference is None else reference, names="blocks.*.attn.hook_z")
    means = [z[f"blocks.{layer}.attn.hook_z"].mean((0, 1), keepdim=True) for layer in range(2)]
    intact = losses_of(model, tokens, scored)
    for layer in range(2):
        changed = losses_of(without(model, [(layer, 1)], means), tokens, scored)
        expected = [a - b for a, b in zip(changed, intact, strict=True)]
        assert effects.loss.samples[:, layer, 1].tolist() == pytest.approx(expected, abs=1e-9)
    assert ("the reference tokens" in effects.loss.protocol) == given


def test_a_mean_over_the_batch_keeps_each_position_its_own(generator):
    model, tokens = random_model(generator), some_tokens(generator)
    reference = torch.randint(11, (5, 10), generator=generator)
    z = record(model, reference, names="blocks.0.attn.hook_z")["blocks.0.attn.hook_z"]
    how = removal(model, tokens[:, :8], over="batch", reference=reference)
    with intervene(model, how.edits([Head(0, 2), Head(0, 1)])):
        seen = record(model, tokens[:, :8], names="blocks.0.attn.hook_z")["blocks.0.attn.hook_z"]
    for index in (1, 2):
        assert torch.allclose(seen[:, :, index], z[:, :8, index].mean(0).expand(6, -1, -1))
    untouched = record(model, tokens[:, :8], names="blocks.0.attn.hook_z")["blocks.0.attn.hook_z"]
    assert torch.equal(seen[:, :, 0], untouched[:, :, 0])


def test_a_mean_for_each_position_misses_what_a_pointer_says():
    """Q-composition: layer 0 writes where the earlier copy stands, the same in all sequences of one period."""
    made = handmade.make("induction_q")
    protocol = Protocol(2, 15, d_vocab=16, bos=0)
    tokens = repeated_tokens(protocol, 6, torch.Generator().manual_seed(0))
    scored = predictable_positions(protocol, 6)
    by_position, everywhere = (
        head_effects(made.model, tokens, scored, torch.Generator().manual_seed(0), over=over).loss.score[0, 0]
        for over in ("batch", "batch and positions")
    )
    assert float(by_position) == pytest.approx(0, abs=1e-6)
    assert float(everywhere) > 1


def test_collateral_is_the_effect_on_all_other_tokens_but_the_first(generator):
    model, tokens = random_model(generator), some_tokens(generator)
    scored = second_half(tokens)
    effects = head_effects(model, tokens, scored, generator, to="zero")
    rest = ~scored & (torch.arange(10) > 0)
    changed, intact = losses_of(without(model, [(1, 2)]), tokens, rest), losses_of(model, tokens, rest)
    expected = [a - b for a, b in zip(changed, intact, strict=True)]
    assert effects.elsewhere is not None
    assert effects.elsewhere.samples[:, 1, 2].tolist() == pytest.approx(expected, abs=1e-9)
    assert float(effects.loss.also["other positions"][1, 2]) == pytest.approx(sum(expected) / 6)
    assert effects.intact["loss elsewhere"] == pytest.approx(sum(intact) / 6)
    everything = head_effects(model, tokens, torch.ones_like(scored) & (torch.arange(10) > 0), generator)
    assert everything.elsewhere is None
    assert everything.loss.also == {}


def test_controls_of_a_head_are_the_other_heads_of_its_layer(generator):
    model, tokens = random_model(generator), some_tokens(generator)
    loss = head_effects(model, tokens, second_half(tokens), generator).loss
    for layer in range(2):
        row = loss.score[layer].tolist()
        expected = [(sum(row) - each) / 2 for each in row]
        assert loss.nulls["other heads of its layer"][layer].tolist() == pytest.approx(expected)
    alone = random_model(generator, n_heads=1)
    assert head_effects(alone, tokens, second_half(tokens), generator).loss.nulls == {}


def test_logit_and_probability_fall_where_an_induction_head_goes():
    made = handmade.make("induction_k")
    scored = torch.zeros_like(made.example_tokens, dtype=torch.bool)
    scored[:, 1:] = made.repeated[:, :-1]
    effects = head_effects(made.model, made.example_tokens, scored, torch.Generator().manual_seed(0), to="zero")
    assert float(effects.logit.score[1, 0]) == pytest.approx(-12, abs=1e-3)  # its gain
    assert float(effects.probability.score[1, 0]) == pytest.approx(1 / 16 - 1, abs=1e-3)


def test_sequences_without_scored_tokens_are_left_out(generator):
    model, tokens = random_model(generator), some_tokens(generator)
    scored = second_half(tokens)
    scored[1] = False
    loss = head_effects(model, tokens, scored, generator, to="zero").loss
    kept = head_effects(model, tokens[[0, 2, 3, 4, 5]], scored[[0, 2, 3, 4, 5]], generator, to="zero").loss
    assert torch.allclose(loss.samples, kept.samples)
    assert loss.interval.n == 5


def test_heads_removed_together_equal_a_model_without_their_output_weights(generator):
    model, tokens = random_model(generator), some_tokens(generator)
    scored = second_half(tokens)
    pair = [Head(0, 1), Head(1, 0)]
    effect = set_effect(model, pair, tokens, scored, generator, to="zero", n_random=1000)
    changed, intact = losses_of(without(model, pair), tokens, scored), losses_of(model, tokens, scored)
    assert effect.loss.mean == pytest.approx((sum(changed) - sum(intact)) / 6)
    assert effect.loss.low <= effect.loss.mean <= effect.loss.high
    assert effect.heads == tuple(pair)


def test_random_sets_are_all_other_sets_when_there_are_few(generator):
    model, tokens = random_model(generator), some_tokens(generator)
    scored = second_half(tokens)
    effect = set_effect(model, [Head(0, 0), Head(0, 1)], tokens, scored, generator, to="zero", n_random=6)
    intact = sum(losses_of(model, tokens, scored)) / 6
    rest = [(0, 2), (1, 0), (1, 1), (1, 2)]
    pairs = [(a, b) for i, a in enumerate(rest) for b in rest[i + 1 :]]
    expected = [sum(losses_of(without(model, pair), tokens, scored)) / 6 - intact for pair in pairs]
    assert effect.random_losses.tolist() == pytest.approx(expected)
    assert effect.random is not None
    assert effect.random.description == "all 6 sets of 2 of the other heads"
    at_least = sum(each >= effect.loss.mean for each in expected)
    assert effect.p_value == (1 + at_least) / 7


def test_random_sets_are_different_and_avoid_the_named_heads(generator):
    model, tokens = random_model(generator, n_heads=4), some_tokens(generator, n=2)
    effect = set_effect(model, [Head(0, 0), Head(1, 3)], tokens, second_half(tokens), generator, n_random=9)
    assert len(set(effect.random_losses.tolist())) == 9
    assert effect.random is not None
    assert effect.random.description == "9 random sets of 2 of the other heads"
    assert effect.random.maximum == pytest.approx(float(effect.random_losses.max()))


def test_with_too_few_other_heads_random_sets_differ_from_the_named_one_only(generator):
    model, tokens = random_model(generator, n_heads=2), some_tokens(generator)
    effect = set_effect(model, [Head(0, 0), Head(0, 1), Head(1, 0)], tokens, second_half(tokens), generator)
    assert effect.random is not None
    assert effect.random.description == "all 3 sets of 3 of all heads (too few others)"
    everything = [Head(a, b) for a in range(2) for b in range(2)]
    whole = set_effect(model, everything, tokens, second_half(tokens), generator)
    assert (whole.random, whole.p_value, len(whole.random_losses)) == (None, None, 0)


def test_an_induction_pair_stands_out_among_random_pairs():
    """In a model with both ways of induction at once, only both together matter."""
    made = handmade.make("induction_both")
    scored = torch.zeros_like(made.example_tokens, dtype=torch.bool)
    scored[:, 1:] = made.repeated[:, :-1]
    generator = torch.Generator().manual_seed(0)
    pair = set_effect(made.model, [Head(1, 0), Head(1, 1)], made.example_tokens, scored, generator, to="zero")
    single = head_effects(made.model, made.example_tokens, scored, generator, to="zero").loss.score
    assert pair.loss.mean > 2
    assert float(single.max()) < 0.1


def test_a_transformerlens_bridge_loses_the_same(generator):
    model, tokens = random_model(generator), some_tokens(generator)
    ours, theirs = (
        head_effects(m, tokens, second_half(tokens), torch.Generator().manual_seed(0))
        for m in (model, to_bridge(model))
    )
    assert torch.allclose(ours.loss.score, theirs.loss.score, atol=1e-5)
    assert float(ours.loss.score.abs().max()) > 0.01


def test_effects_read_as_numbers_in_json_and_leave_the_model_alone(generator):
    model, tokens = random_model(generator), some_tokens(generator)
    before = {name: p.clone() for name, p in model.named_parameters()}
    scored = second_half(tokens)
    effects = head_effects(model, tokens, scored, generator)
    written = json.loads(json.dumps(effects.to_dict()))
    assert written["loss"]["unit"] == "nats per token"
    assert written["loss"]["score"] == effects.loss.score.tolist()
    assert "mean over batch and positions of these tokens" in written["loss"]["protocol"]
    joint = json.loads(json.dumps(set_effect(model, [Head(0, 0)], tokens, scored, generator).to_dict()))
    assert joint["heads"] == ["L0H0"]
    assert joint["loss"]["mean"] == pytest.approx(written["loss"]["score"][0][0])
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_what_cannot_be_measured_is_refused(generator):
    model, tokens = random_model(generator), some_tokens(generator)
    scored = second_half(tokens)
    with pytest.raises(InputError, match="position 0 cannot be scored"):
        head_effects(model, tokens, torch.ones_like(scored), generator)
    with pytest.raises(InputError, match="at least two of them"):
        head_effects(model, tokens, torch.zeros_like(scored), generator)
    with pytest.raises(InputError, match=r"each of the tokens \[6, 10\], got torch.bool \[6, 9\]"):
        scored_masks(tokens, scored[:, 1:])
    with pytest.raises(InputError, match="at least two of them, got 1"):
        removal(model, tokens, reference=tokens[:1])
    with pytest.raises(InputError, match="10 positions needs reference tokens that long, got 7"):
        removal(model, tokens, over="batch", reference=tokens[:, :7])
    with pytest.raises(InputError, match="L2H0 is in layer 2"):
        set_effect(model, [Head(2, 0)], tokens, scored, generator)
    with pytest.raises(InputError, match="at least one head"):
        set_effect(model, [], tokens, scored, generator)


def test_a_few_heads_have_the_effects_they_have_among_all_and_the_others_none(generator):
    model, tokens = random_model(generator), some_tokens(generator)
    scored, few = second_half(tokens), [Head(1, 2), Head(0, 1), Head(1, 0)]
    found = head_effects(model, tokens, scored, torch.Generator().manual_seed(1), heads=few)
    every = head_effects(model, tokens, scored, torch.Generator().manual_seed(1))
    asked = torch.tensor([[False, True, False], [True, False, True]])
    assert torch.equal(found.loss.score[asked], every.loss.score[asked])
    assert torch.equal(found.logit.samples[:, asked], every.logit.samples[:, asked])
    assert bool(found.loss.score[~asked].isnan().all())
    elsewhere = found.loss.contrast("other positions", torch.Generator().manual_seed(2))
    expected = every.loss.samples - every.loss.compared["other positions"]
    torch.testing.assert_close(elsewhere.mean[asked], expected.mean(0)[asked])
    assert bool((elsewhere.low <= elsewhere.mean)[asked].all())
    assert bool(elsewhere.high[~asked].isnan().all())
    others = found.loss.nulls["other heads removed"]
    torch.testing.assert_close(others[1, 2], (found.loss.score[0, 1] + found.loss.score[1, 0]) / 2)


def test_a_head_to_remove_that_is_not_there_is_refused(generator):
    model, tokens = random_model(generator), some_tokens(generator)
    with pytest.raises(InputError, match="L2H0 is in layer 2"):
        head_effects(model, tokens, second_half(tokens), generator, heads=[Head(2, 0)])
