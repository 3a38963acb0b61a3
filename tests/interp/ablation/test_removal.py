"""What stands in for a removed head: another sequence's output, and patterns that are held while values change."""

import pytest
import torch

from interp.ablation import edge_effects, head_effects, removal, set_effect
from interp.errors import InputError
from interp.heads import Protocol, predictable_positions, repeated_tokens
from interp.hooks import ablate, intervene, record
from interp.names import Head
from interp.paths import freeze
from interp.paths.frozen_terms import residual_without
from toy_models import handmade
from toy_models.bridge import to_bridge
from toy_models.config import TransformerConfig
from toy_models.transformer import Transformer

Z = "blocks.{}.attn.hook_z"
PATTERN = "blocks.{}.attn.hook_pattern"


def random_model(generator, **options):
    sizes = {"n_layers": 3, "n_heads": 3, "d_model": 12, "d_head": 5, "d_vocab": 11, "n_ctx": 10}
    model = Transformer(TransformerConfig(**{**sizes, **options}), generator).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model


def some_tokens(generator, n=6):
    return torch.randint(11, (n, 10), generator=generator)


def second_half(tokens):
    return (torch.arange(tokens.shape[1]) >= tokens.shape[1] // 2).expand_as(tokens).clone()


def induction_case(name, **options):
    made = handmade.make(name, **options)
    protocol = Protocol(2, 15, d_vocab=16, bos=0)
    tokens = repeated_tokens(protocol, 5, torch.Generator().manual_seed(0))
    return made.model, tokens, predictable_positions(protocol, 5)


def test_resampled_heads_write_what_they_wrote_intact_on_one_other_sequence_each(generator):
    model, tokens = random_model(generator), some_tokens(generator)
    intact = record(model, tokens, names="blocks.*.attn.hook_z")
    how = removal(model, tokens, "resample", generator=generator)
    with intervene(model, how.edits([Head(0, 1), Head(1, 0), Head(1, 2)])):
        seen = record(model, tokens, names="blocks.*.attn.hook_z")

    def source(layer, index):
        z, new = intact[Z.format(layer)][:, :, index], seen[Z.format(layer)][:, :, index]
        return [next(b for b in range(6) if torch.equal(z[b], row)) for row in new]

    found = source(0, 1)
    assert source(1, 0) == source(1, 2) == found
    visited, row = [], 0
    for _ in range(6):
        visited.append(row)
        row = found[row]
    assert row == 0
    assert sorted(visited) == list(range(6))
    assert torch.equal(seen[Z.format(0)][:, :, 0], intact[Z.format(0)][:, :, 0])


def test_resampling_costs_an_induction_head_more_than_nothing_and_keeps_what_all_sequences_share():
    """A wrong token is said aloud: gain nats lost. A pointer to the copy is the same in every sequence of a period."""
    model, tokens, scored = induction_case("induction_k")
    effects = head_effects(model, tokens, scored, torch.Generator().manual_seed(0), to="resample").loss
    assert float(effects.score[1, 0]) > 10
    assert "on another of these sequences" in effects.protocol
    pointer, tokens, scored = induction_case("induction_q")
    effects = head_effects(pointer, tokens, scored, torch.Generator().manual_seed(0), to="resample").loss
    assert float(effects.score[0, 0]) == pytest.approx(0, abs=1e-6)


def test_resampling_reaches_sets_and_edges(generator):
    model, tokens = random_model(generator, n_layers=2), some_tokens(generator)
    scored = second_half(tokens)
    pair = [Head(0, 0), Head(1, 1)]
    found = set_effect(model, pair, tokens, scored, torch.Generator().manual_seed(3), to="resample", n_random=2)
    how = removal(model, tokens, "resample", generator=torch.Generator().manual_seed(3))
    model.requires_grad_(False)
    with intervene(model, how.edits(pair)):
        changed = model(tokens).log_softmax(-1)
    losses = [
        -each[:, :-1].gather(-1, tokens[:, 1:, None])[:, 4:, 0].mean()
        for each in (changed, model(tokens).log_softmax(-1))
    ]
    assert found.loss.mean == pytest.approx(float(losses[0] - losses[1]))
    edges = edge_effects(model, Head(1, 0), tokens, scored, generator, to="resample", channels=["K"])
    assert float(edges.channels["K"].loss.score.abs().min()) > 1e-6
    alike = edge_effects(model, Head(1, 0), tokens[[0, 0]], scored[:2], generator, to="resample", channels=["K"])
    assert float(alike.channels["K"].loss.score.abs().max()) < 1e-12


def test_units_that_are_no_heads_are_removed_in_the_same_ways_by_hooks(generator):
    layer = torch.nn.Sequential(torch.nn.Linear(4, 3))
    x = torch.randn(5, 4, generator=generator)
    ways = [ablate(1, "zero", axis=1), ablate(1, "mean", axis=1), ablate(1, "resample", axis=1, generator=generator)]
    intact = layer(x)
    outputs = []
    for how in ways:
        with intervene(layer, {"0": how}), torch.no_grad():
            outputs.append(layer(x)[:, 1])
    assert outputs[0].tolist() == [0] * 5
    assert torch.allclose(outputs[1], intact[:, 1].mean().expand(5))
    assert torch.equal(outputs[2].sort().values, intact[:, 1].sort().values)
    assert bool((outputs[2] != intact[:, 1]).all())


@pytest.mark.parametrize("silent", [[(0, 1)], [(1, 2)], [(0, 0), (0, 2), (1, 1)], [(2, 0)]])
def test_held_patterns_and_silent_heads_equal_the_paths_without_them(generator, silent):
    """Without normalisation: the final residual stream less every path through a silent head."""
    model, tokens = random_model(generator, normalization="none"), some_tokens(generator)
    run = freeze(model, tokens)
    expected = residual_without(run, silent) @ run.weights.W_U + run.weights.b_U
    held = removal(model, tokens, "zero", hold_patterns=True)
    with intervene(model, held.edits([Head(*head) for head in silent])), torch.no_grad():
        logits = model(tokens)
    assert float((logits - expected).abs().max()) < 1e-9
    assert float((logits - run.logits).abs().max()) > 1e-3


@pytest.mark.parametrize("normalization", ["none", "LN"])
@pytest.mark.parametrize("to", ["zero", "mean", "resample"])
def test_all_patterns_are_those_of_the_intact_run(generator, normalization, to):
    model, tokens = random_model(generator, normalization=normalization), some_tokens(generator)
    intact = record(model, tokens, names="blocks.*.attn.hook_pattern")
    for hold in (True, False):
        how = removal(model, tokens, to, generator=generator, hold_patterns=hold)
        with intervene(model, how.edits([Head(0, 0)])):
            seen = record(model, tokens, names="blocks.*.attn.hook_pattern")
        moved = max(float((seen[PATTERN.format(i)] - intact[PATTERN.format(i)]).abs().max()) for i in range(3))
        assert (moved == 0) if hold else (moved > 1e-3)


@pytest.mark.parametrize("name, feeder", [("induction_k", (0, 0)), ("induction_q", (0, 0))])
def test_a_feeder_matters_through_patterns_alone_and_the_induction_head_through_values(name, feeder):
    model, tokens, scored = induction_case(name)
    held, free = (
        head_effects(model, tokens, scored, torch.Generator().manual_seed(0), to="zero", hold_patterns=hold).loss
        for hold in (True, False)
    )
    assert float(held.score[feeder]) == pytest.approx(0, abs=1e-9)
    assert float(free.score[feeder]) > 1
    assert float(held.score[1, 0]) == pytest.approx(float(free.score[1, 0]), abs=1e-9)
    assert held.protocol.endswith("all attention patterns held as in the intact run")


def test_handmade_models_lose_what_is_known_with_patterns_held():
    checked = 0
    for name in ("induction_k", "induction_q", "induction_both", "induction_shared"):
        made = handmade.make(name)
        scored = torch.zeros_like(made.example_tokens, dtype=torch.bool)
        scored[:, 1:] = made.repeated[:, :-1]
        known = [e for e in made.truth.expected if e.quantity == "loss without (patterns held)" and len(e.at) == 1]
        generator = torch.Generator().manual_seed(0)
        effects = head_effects(made.model, made.example_tokens, scored, generator, to="zero", hold_patterns=True)
        for expected in known:
            measured = effects.intact["loss"] + float(effects.loss.score[expected.at[0]])
            assert measured == pytest.approx(expected.value, abs=expected.tolerance)
        checked += len(known)
    assert checked >= 4


def test_v_composition_goes_with_the_value_path():
    """Two back: the earlier head is read by values alone, so holding patterns changes nothing."""
    made = handmade.make("two_back")
    tokens = made.example_tokens
    scored = second_half(tokens)
    held, free = (
        head_effects(made.model, tokens, scored, torch.Generator().manual_seed(0), to="zero", hold_patterns=hold).loss
        for hold in (True, False)
    )
    assert torch.allclose(held.samples, free.samples, atol=1e-9)
    assert float(held.score[0, 0].abs()) > 0.1


def test_a_transformerlens_bridge_with_held_patterns_loses_the_same(generator):
    model, tokens = random_model(generator, n_layers=2), some_tokens(generator)
    for to in ("zero", "resample"):
        ours, theirs, free = (
            head_effects(
                each, tokens, second_half(tokens), torch.Generator().manual_seed(0), to=to, hold_patterns=hold
            ).loss.score
            for each, hold in ((model, True), (to_bridge(model), True), (model, False))
        )
        assert torch.allclose(ours, theirs, atol=1e-5)
        assert float((ours - free)[0].abs().max()) > 1e-3


def test_sets_can_be_removed_with_patterns_held():
    model, tokens, scored = induction_case("induction_both")
    pair, generator = [Head(0, 0), Head(0, 1)], torch.Generator().manual_seed(0)
    held = set_effect(model, pair, tokens, scored, generator, to="zero", hold_patterns=True, n_random=1)
    free = set_effect(model, pair, tokens, scored, generator, to="zero", n_random=1)
    assert held.loss.mean == pytest.approx(0, abs=1e-6)
    assert free.loss.mean > 1


def test_what_cannot_be_resampled_is_refused(generator):
    model, tokens = random_model(generator), some_tokens(generator)
    with pytest.raises(InputError, match="pass generator="):
        removal(model, tokens, "resample")
    with pytest.raises(InputError, match=r"row by row: they must be \[\d+, \d+\] as the tokens, got"):
        removal(model, tokens, "resample", reference=tokens[:, 1:])
    with pytest.raises(InputError, match="another sequence to take from, got 1"):
        removal(model, tokens[:1], "resample", generator=generator)


def test_resampling_from_a_reference_writes_what_heads_write_there_row_by_row(generator):
    model, tokens = random_model(generator), some_tokens(generator)
    reference = tokens.flip(0)
    with intervene(model, removal(model, tokens, "resample", reference=reference).edits([Head(0, 1)])):
        found = record(model, tokens, names="blocks.0.attn.hook_z")["blocks.0.attn.hook_z"]
    elsewhere = record(model, reference, names="blocks.0.attn.hook_z")["blocks.0.attn.hook_z"]
    assert torch.allclose(found[:, :, 1], elsewhere[:, :, 1], atol=1e-6)
