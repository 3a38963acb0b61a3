"""Ingredients of the trained transformer claims, on values known by construction, and two very short trainings."""

import math

import pytest
import torch

from analyses.claims.experiments import transformer_mlps
from analyses.claims.experiments.transformer_measures import (
    Look,
    about_zero,
    attention_by_distance,
    beyond,
    compositions,
    lens_readings,
    low_rank,
    scale_effects,
)
from analyses.claims.experiments.transformer_mlps import Facts, chosen_neurons, draw_facts, learn_facts, right_without
from analyses.claims.experiments.transformer_models import random_tokens, random_transformer
from analyses.claims.experiments.transformer_superposition import dimensionalities, train_superposition
from analyses.claims.experiments.transformer_training import known_losses, train_transformer
from toy_models.config import TransformerConfig
from toy_models.handmade import make
from toy_models.transformer import Transformer


def look_of(model, tokens):
    scored = torch.arange(tokens.shape[1]).expand_as(tokens) > 1
    return Look(tokens, scored, torch.Generator().manual_seed(0))


def test_a_previous_token_head_is_all_near_and_even_attention_is_what_it_is():
    handmade = make("previous_token")
    even = make("previous_token").model
    with torch.no_grad():
        even.blocks[0].attn.W_QKV.zero_()
    row = attention_by_distance(handmade.model, even, look_of(handmade.model, handmade.example_tokens))
    assert row["near"] == pytest.approx(1)
    assert row["near before training"] == pytest.approx(row["near, even"])
    assert row["by distance"][:3] == pytest.approx([0, 1, 0], abs=1e-9)
    for by, near in ((3, 1), (4, 0)):
        shift = make("shift_by", by=by)
        found = attention_by_distance(shift.model, even, look_of(shift.model, shift.example_tokens))
        assert found["near"] == pytest.approx(near, abs=1e-9)
    queries = range(12, handmade.example_tokens.shape[1])
    assert row["by distance, even"][0] == pytest.approx(sum(1 / (q + 1) for q in queries) / len(queries))


def test_the_strongest_composition_is_that_of_the_handmade_model_above_random_weights():
    row = compositions(make("induction_k").model)
    assert row["K-composition"] == pytest.approx(1 / 4 - 1 / math.sqrt(82))
    assert row["V-composition"] == pytest.approx(-1 / math.sqrt(82))


def test_rank_and_zeros_are_counted_matrix_by_matrix():
    values = torch.diag(torch.tensor([4.0, 2.0, 1.0, 0.0]))
    assert beyond(values[None], 1) == pytest.approx(0.5)
    assert beyond(torch.stack([values, torch.eye(4)]), 3) == pytest.approx(1)
    assert about_zero(values[None]) == pytest.approx(13 / 16)
    row = low_rank(random_transformer(0, "cpu"))
    assert row["multiplied out"] == 10 * 16 * 16 + 10 * 10 * 16
    assert row["factored"] == 2 * 10 * 16 * 5 + 10 * 10 * 5
    assert row["beyond d_head"] < 1e-12


def test_the_lens_agrees_with_an_end_that_was_there_before_and_reads_as_much_everywhere():
    model = random_transformer(0, "cpu", d_mlp=4)
    with torch.no_grad():
        model.unembed.W_U.zero_()  # every prediction is b_U
    tokens = random_tokens(0, "cpu", model)
    row = lens_readings(model, look_of(model, tokens))
    assert row["agreement before the last layer"] == pytest.approx(1)
    assert row["nats before the last layer"] == pytest.approx(row["nats before the last MLP"])
    assert row["nats before the last MLP"] < 0  # it has learnt nothing
    silent = random_transformer(0, "cpu", d_mlp=4)
    with torch.no_grad():
        for block in silent.blocks:
            block.mlp.W_out.zero_()
            block.mlp.b_out.zero_()
    row = lens_readings(silent, look_of(silent, tokens))
    assert row["agreement before the last MLP"] == pytest.approx(1)
    assert row["agreement before the last layer"] < 0.99


def test_scale_effects_of_a_model_whose_scale_cannot_change_are_the_same_held_and_free():
    model = random_transformer(0, "cpu", normalization="RMS", norm_eps=1e12)
    with torch.no_grad():
        for norm in (model.ln_final, *(block.ln1 for block in model.blocks)):
            norm.w.mul_(1e6)
    row = scale_effects(model, look_of(model, random_tokens(0, "cpu", model)))
    assert row["direct, free"] == pytest.approx(row["direct, held"], rel=1e-9)
    assert row["removed, free"] == pytest.approx(row["removed, held"], rel=1e-9)
    assert row["missed by one scale"] == pytest.approx(0, abs=1e-12)


def test_a_pentagon_gives_every_feature_two_fifths_and_two_axes_give_one_each():
    angles = 2 * math.pi * torch.arange(5) / 5
    pentagon = torch.stack([angles.cos(), angles.sin()], dim=1)
    assert dimensionalities(pentagon).tolist() == pytest.approx([0.4] * 5)
    axes = torch.tensor([[1.0, 0.0], [0.0, 3.0], [0.0, 0.0]])
    assert dimensionalities(axes).tolist() == pytest.approx([1, 1, 0])


def test_an_untrained_superposition_is_measured_at_its_initial_weights_and_budget_scales_the_steps():
    untrained = train_superposition(0, "cpu", 1.0, sparsity=0.95, trained=False)
    short = train_superposition(0, "cpu", 0.03, sparsity=0.95)
    assert short["loss"] < untrained["loss"]
    assert train_superposition(0, "cpu", 0.03, sparsity=0.95) == short


def model_with_neurons():
    """Neuron n is active at unit n of the stream, and writes to the object n alone."""
    config = TransformerConfig(
        n_layers=1, n_heads=1, d_model=32, d_head=2, d_vocab=32, n_ctx=2, positions="none", d_mlp=64, activation="relu",
        biases=False,
    )  # fmt: skip
    model = Transformer(config, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for tensor in model.trained_tensors().values():
            tensor.zero_()
        model.embed.W_E.copy_(torch.eye(32))
        mlp = model.blocks[0].mlp
        mlp.W_in[:, :32] = torch.eye(32)
        mlp.W_out[:16, 16:] = 5 * torch.eye(16)  # after token n comes object 16 + n
        model.unembed.W_U.copy_(torch.eye(32))
    return model.eval()


def test_a_facts_own_neuron_is_found_and_the_fact_goes_with_it_alone():
    model = model_with_neurons()
    facts = Facts(torch.stack([torch.arange(4), torch.arange(8, 12)], 1), 16 + torch.arange(8, 12))
    active = torch.relu(torch.eye(32)[facts.tokens[:, 1]] @ model.blocks[0].mlp.W_in.detach())
    with torch.no_grad():
        own, like = chosen_neurons(model, active, facts.objects)
        assert own[torch.arange(4), torch.arange(8, 12)].all()
        assert own.sum(1).tolist() == like.sum(1).tolist() == [6] * 4
        assert not (own & like).any()
        nothing = torch.zeros_like(own)
        assert right_without(model, facts, nothing).all()
        one = nothing.clone()
        one[0, 8] = one[1, 8] = True
        assert right_without(model, facts, one).tolist() == [False, True, True, True]


def test_facts_are_all_pairs_and_not_the_sum_of_their_parts():
    facts = draw_facts(0, "cpu")
    assert len(facts.tokens.unique(dim=0)) == 64
    assert int(facts.objects.min()) >= 16
    table = facts.objects.view(8, 8)
    assert (table[0] != table[1]).any()


def test_learning_facts_by_heart_puts_them_into_few_neurons():
    row = learn_facts(0, "cpu", 0.4)
    assert row["known"] > 0.9
    assert row["lost"] > row["lost, others of like size"] + 0.25
    assert learn_facts(0, "cpu", 1.0, trained=False)["known"] < 0.3


def test_a_short_training_gives_every_number_that_its_claims_ask_for_and_the_same_again():
    row = train_transformer(0, "cpu", 2 / 1600, normalization="LN", d_mlp=8)
    assert row == train_transformer(0, "cpu", 2 / 1600, normalization="LN", d_mlp=8)
    assert row["formed at"] == 2
    assert row["loss"] == pytest.approx(math.log(24), abs=0.5)
    assert {"K-composition", "direct, held", "nats before the last MLP", "near", "beyond d_head"} <= row.keys()


def test_counting_alone_cannot_reach_the_optimum():
    target = known_losses()
    assert target.optimum is not None
    assert target.order_free is not None
    assert target.order_free.lower is not None
    assert target.optimum.mean + 1 < target.order_free.lower.mean <= target.order_free.upper.mean < target.chance


def test_nothing_of_the_mlp_moves_and_attention_does():
    row = transformer_mlps.nothing_moves(3, "cpu", 1.0)
    assert row["MLP"] == 0
    assert row["attention"] > 0.1
