"""Units removed: neurons whose work is known because it was set by hand, weights set to zero, and stand-ins by hand."""

import json
import math

import pytest
import torch

from interp.ablation import Unit, head_effects, set_effect, unit_effects, unit_set_effect
from interp.errors import InputError
from interp.hooks import intervene, record
from interp.names import Head
from interp.patching import logit_difference
from toy_models.bridge import to_bridge
from toy_models.config import TransformerConfig
from toy_models.transformer import Transformer

POST, Z = "blocks.{}.mlp.hook_post", "blocks.{}.attn.hook_z"
V, GAIN = 7, 6.0


def random_model(generator, **options):
    sizes = {"n_layers": 2, "n_heads": 3, "d_model": 12, "d_head": 5, "d_vocab": 11, "n_ctx": 10, "d_mlp": 6}
    model = Transformer(TransformerConfig(**{**sizes, **options}), generator).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model


def some_tokens(generator, n=6):
    return torch.randint(11, (n, 10), generator=generator)


def second_half(tokens):
    return (torch.arange(tokens.shape[1]) >= tokens.shape[1] // 2).expand_as(tokens).clone()


def losses_of(model, tokens, scored):
    """Mean loss of the scored tokens of each sequence, written out."""
    with torch.no_grad():
        p = model(tokens).log_softmax(-1)
    return torch.stack(
        [torch.stack([-p[b, i - 1, tokens[b, i]] for i in row.nonzero()[:, 0]]).mean() for b, row in enumerate(scored)]
    )


def without_neurons(model, neurons):
    """A copy in which these neurons, (layer, index), write nothing."""
    copy = Transformer(model.config, torch.Generator().manual_seed(0)).double()
    copy.load_state_dict(model.state_dict())
    with torch.no_grad():
        for layer, index in neurons:
            copy.blocks[layer].mlp.W_out[index] = 0
    return copy


def successor_model():
    """Neuron k fires on token k alone and raises the logit of token k + 1 by GAIN; nothing else writes a logit."""
    config = TransformerConfig(
        n_layers=1,
        n_heads=1,
        d_model=2 * V,
        d_head=2,
        d_vocab=V,
        n_ctx=V,
        d_mlp=V,
        activation="relu",
        positions="none",
    )
    model = Transformer(config, torch.Generator().manual_seed(0)).double()
    eye, zero = torch.eye(V, dtype=torch.float64), torch.zeros(V, V, dtype=torch.float64)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.embed.W_E.copy_(torch.cat([eye, zero], dim=1))
        model.blocks[0].mlp.W_in.copy_(torch.cat([eye, zero]))
        model.blocks[0].mlp.W_out.copy_(torch.cat([zero, GAIN * eye.roll(1, dims=1)], dim=1))
        model.unembed.W_U.copy_(torch.cat([zero, eye]))
    return model


COUNTING = torch.stack([(torch.arange(V) + start) % V for start in range(4)])
"""Every token is followed by the next one."""


def test_a_neuron_that_says_what_follows_a_token_costs_exactly_what_that_token_then_costs(generator):
    model, scored = successor_model(), torch.ones_like(COUNTING, dtype=torch.bool)
    scored[:, 0] = False
    found = unit_effects(model, POST.format(0), COUNTING, scored, generator, to="zero")
    sure, lost = math.log1p((V - 1) * math.exp(-GAIN)), math.log(V)
    asked = torch.stack([(COUNTING[:, :-1] == k).double().mean() for k in range(V)])
    assert torch.allclose(found.loss.mean, asked * (lost - sure))
    assert torch.allclose(found.logit.mean, asked * -GAIN)
    assert found.units[3] == Unit("blocks.0.mlp.hook_post", 3)
    assert str(found.units[3]) == "blocks.0.mlp.hook_post[3]"


def test_neurons_removed_together_cost_the_sum_where_they_speak_about_different_tokens(generator):
    model, scored = successor_model(), torch.ones_like(COUNTING, dtype=torch.bool)
    scored[:, 0] = False
    alone = unit_effects(model, POST.format(0), COUNTING, scored, generator, to="zero").loss.mean
    pair = unit_set_effect(model, {POST.format(0): [1, 4]}, COUNTING, scored, generator, to="zero")
    assert pair.loss.mean == pytest.approx(float(alone[1] + alone[4]))
    others = [float(alone[i] + alone[j]) for i in (0, 2, 3, 5, 6) for j in (0, 2, 3, 5, 6) if i < j]
    assert sorted(pair.random_losses.tolist()) == pytest.approx(sorted(others))
    assert pair.random.description == "all 10 sets of 2 of the other units of these points"
    at_least = sum(each >= pair.loss.mean - 1e-12 for each in others)
    assert pair.p_value == (1 + at_least) / 11


def test_neurons_removed_by_zero_equal_a_model_without_their_output_weights(generator):
    model, tokens = random_model(generator), some_tokens(generator)
    scored = second_half(tokens)
    rest = ~scored
    rest[:, 0] = False
    found = unit_set_effect(
        model, {POST.format(0): [1, 5], POST.format(1): [2]}, tokens, scored, generator, to="zero", n_random=2
    )
    silent = without_neurons(model, [(0, 1), (0, 5), (1, 2)])
    for effect, mask in ((found.loss, scored), (found.elsewhere, rest)):
        assert effect.mean == pytest.approx(
            float((losses_of(silent, tokens, mask) - losses_of(model, tokens, mask)).mean())
        )
    assert [str(unit)[:8] for unit in found.units] == ["blocks.0", "blocks.0", "blocks.1"]


@pytest.mark.parametrize("to", ["mean", "zero", "resample"])
@pytest.mark.parametrize("hold", [False, True])
def test_heads_are_units_of_hook_z(generator, to, hold):
    model, tokens = random_model(generator), some_tokens(generator)
    options = {"to": to, "hold_patterns": hold}
    seeds = [torch.Generator().manual_seed(4) for _ in range(4)]
    heads = head_effects(model, tokens, second_half(tokens), seeds[0], **options)
    units = unit_effects(
        model, {Z.format(0): range(3), Z.format(1): range(3)}, tokens, second_half(tokens), seeds[1], **options
    )
    assert torch.allclose(units.loss.mean, heads.loss.score.flatten())
    assert torch.allclose(units.probability.mean, heads.probability.score.flatten())
    assert torch.allclose(units.elsewhere.mean, heads.elsewhere.score.flatten())
    pair = set_effect(model, [Head(0, 2), Head(1, 0)], tokens, second_half(tokens), seeds[2], n_random=1, **options)
    same = unit_set_effect(
        model, {Z.format(0): [2], Z.format(1): [0]}, tokens, second_half(tokens), seeds[3], n_random=1, **options
    )
    assert same.loss.mean == pytest.approx(pair.loss.mean)
    assert units.text == heads.loss.protocol.replace("removed heads", "removed units")


@pytest.mark.parametrize("over", ["batch", "batch and positions"])
def test_what_stands_in_is_the_intact_mean_on_the_reference(generator, over):
    model, tokens, reference = random_model(generator), some_tokens(generator), some_tokens(generator, n=4)
    points = {POST.format(0): [0, 3], POST.format(1): [1]}
    intact = record(model, reference, names=list(points))
    means = {
        name: value.mean(0) if over == "batch" else value.mean((0, 1)).expand(10, -1) for name, value in intact.items()
    }

    def put(name):
        def edit(value):
            for b in range(len(value)):
                for i in range(value.shape[1]):
                    for unit in points[name]:
                        value[b, i, unit] = means[name][i, unit]
            return value

        return edit

    scored = second_half(tokens)
    with intervene(model, {name: put(name) for name in points}):
        changed = losses_of(model, tokens, scored)
    found = unit_set_effect(model, points, tokens, scored, generator, over=over, reference=reference, n_random=1)
    assert found.loss.mean == pytest.approx(float((changed - losses_of(model, tokens, scored)).mean()))


def test_resampled_units_have_their_intact_values_on_one_other_sequence(generator):
    model, tokens = random_model(generator), some_tokens(generator)
    intact = record(model, tokens, names=POST.format(1))[POST.format(1)]
    scored = second_half(tokens)
    found = unit_effects(model, {POST.format(1): [4]}, tokens, scored, torch.Generator().manual_seed(9), to="resample")
    order = torch.randperm(6, generator=torch.Generator().manual_seed(9))
    source = torch.empty_like(order)
    source[order] = order.roll(1)
    assert bool((source != torch.arange(6)).all())
    moved = intact.clone()
    moved[:, :, 4] = intact[source][:, :, 4]
    with intervene(model, {POST.format(1): moved}):
        changed = losses_of(model, tokens, scored)
    assert float(found.loss.mean[0]) == pytest.approx(float((changed - losses_of(model, tokens, scored)).mean()))


def test_the_effect_on_a_logit_difference_is_that_of_a_run_without_the_neuron(generator):
    model, tokens = random_model(generator), some_tokens(generator)
    right, wrong = torch.arange(6), torch.arange(6) + 3
    metric = logit_difference(right, wrong)
    found = unit_effects(
        model, {POST.format(0): [2, 5]}, tokens, second_half(tokens), generator, to="zero", metric=metric
    )
    with torch.no_grad():
        for place, index in enumerate((2, 5)):
            silent, whole = without_neurons(model, [(0, index)])(tokens)[:, -1], model(tokens)[:, -1]
            rows = torch.arange(6)
            change = (silent[rows, right] - silent[rows, wrong]) - (whole[rows, right] - whole[rows, wrong])
            assert float(found.metric.mean[place]) == pytest.approx(float(change.mean()))
            assert found.metric.low[place] <= change.mean() <= found.metric.high[place]


def test_a_neuron_that_nobody_reads_costs_nothing_and_its_set_does_not_stand_out(generator):
    model, tokens = random_model(generator), some_tokens(generator)
    dead = without_neurons(model, [(0, 1), (0, 2)])
    found = unit_set_effect(dead, {POST.format(0): [1, 2]}, tokens, second_half(tokens), generator)
    assert (found.loss.mean, found.loss.low, found.loss.high) == (0, 0, 0)
    costs = unit_effects(dead, POST.format(0), tokens, second_half(tokens), generator)
    expected = [float(costs.loss.mean.sum() - each) / 5 for each in costs.loss.mean]
    assert costs.others.tolist() == pytest.approx(expected)
    assert float(costs.loss.mean[1]) == 0
    assert float(costs.loss.mean.abs().max()) > 1e-3


def test_random_sets_have_as_many_units_of_every_point(generator):
    model, tokens = random_model(generator), some_tokens(generator)
    scored, points = second_half(tokens), {POST.format(0): [0, 1, 2], Z.format(1): [0]}
    found = unit_set_effect(model, points, tokens, scored, generator, to="zero", n_random=500)
    assert found.random.description == "all 2 sets of 4 of the other units of these points"
    others = [{POST.format(0): [3, 4, 5], Z.format(1): [head]} for head in (1, 2)]
    expected = [
        unit_set_effect(model, each, tokens, scored, generator, to="zero", n_random=1).loss.mean for each in others
    ]
    assert found.random_losses.tolist() == pytest.approx(expected)


def test_a_transformerlens_bridge_loses_the_same(generator):
    model, tokens = random_model(generator).float(), some_tokens(generator)
    ours, theirs = (
        unit_effects(m, POST.format(1), tokens, second_half(tokens), torch.Generator().manual_seed(0))
        for m in (model, to_bridge(model))
    )
    assert torch.allclose(ours.loss.mean, theirs.loss.mean, atol=1e-5)
    assert float(ours.loss.mean.abs().max()) > 1e-3


def test_effects_of_units_read_as_numbers_in_json(generator):
    model, tokens = random_model(generator), some_tokens(generator)
    found = unit_effects(model, POST.format(0), tokens, second_half(tokens), generator)
    written = json.loads(json.dumps(found.to_dict()))
    assert written["loss"]["mean"] == found.loss.mean.tolist()
    assert written["metric"] is None
    assert "removed units write their mean over batch and positions of these tokens" in written["protocol"]
    joint = unit_set_effect(model, {POST.format(0): [0]}, tokens, second_half(tokens), generator, n_random=3)
    written = json.loads(json.dumps(joint.to_dict()))
    assert written["units"] == ["blocks.0.mlp.hook_post[0]"]
    assert written["random"]["n"] == 3


@pytest.mark.parametrize(
    "units, said",
    [
        ({POST.format(0): [6]}, "has units 0 to 5, there is no unit 6"),
        ({}, "at least one unit"),
        ({POST.format(0): []}, "at least one unit"),
        ({"blocks.0.hook_resid_pre": [0]}, r"has axes \(batch pos d_model\)"),
        ({"blocks.0.attn.hook_pattern": [0]}, r"has axes \(batch head dest src\)"),
        ({"blocks.0.mlp": [0]}, "has no named axes"),
        ({"blocks.0.mlp.hook_most": [0]}, "is not in this model"),
    ],
)
def test_units_that_are_not_there_are_refused(generator, units, said):
    model, tokens = random_model(generator), some_tokens(generator)
    with pytest.raises(InputError, match=said):
        unit_effects(model, units, tokens, second_half(tokens), generator)
