"""What weights alone imply, on models whose weights were set by hand."""

import dataclasses

import pytest
import torch

from interp.circuits.implied import positional_pattern, token_match, token_scores
from interp.errors import InputError
from interp.hooks import record
from interp.weights import weights_of
from toy_models.config import TransformerConfig
from toy_models.handmade import make
from toy_models.transformer import Transformer


@pytest.mark.parametrize("positions", ["standard", "shortformer", "rotary", "none"])
@pytest.mark.parametrize("normalization", ["none", "LN", "RMSPre"])
def test_positional_pattern_is_the_pattern_of_a_sequence_whose_tokens_are_all_the_mean(
    positions, normalization, generator
):
    config = TransformerConfig(
        n_layers=1, n_heads=2, d_model=12, d_head=4, d_vocab=6, n_ctx=7, positions=positions, smeared_keys=True,
        normalization=normalization, init_range=0.7,
    )  # fmt: skip
    model = Transformer(config, generator).double()
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    w = weights_of(model)
    implied = torch.stack([positional_pattern(w, (0, h)) for h in range(2)])
    with torch.no_grad():
        model.embed.W_E[0] = model.embed.W_E.mean(0)
    pattern = record(model, torch.zeros(1, 7, dtype=torch.long), names="blocks.0.attn.hook_pattern")
    assert torch.allclose(implied, pattern["blocks.0.attn.hook_pattern"][0], atol=1e-12)


def test_positional_pattern_of_the_handmade_previous_token_head_is_all_on_the_token_before():
    pattern = positional_pattern(weights_of(make("induction_k").model), (0, 0))
    assert float(pattern.diagonal(-1).min()) > 0.999


def test_positional_pattern_of_the_handmade_induction_head_knows_nothing_of_position():
    pattern = positional_pattern(weights_of(make("induction_k").model), (1, 0))
    even = 1 / torch.arange(1, len(pattern) + 1, dtype=pattern.dtype)
    assert torch.allclose(pattern, even[:, None].expand_as(pattern).tril(), atol=1e-6)


def test_token_match_of_the_handmade_duplicate_token_head_is_one_and_of_a_positional_head_near_chance():
    w = weights_of(make("induction_q").model)
    duplicate = next(h for h, role in make("induction_q").truth.roles.items() if role == "duplicate-token")
    assert token_match(w, duplicate) == 1.0
    k = weights_of(make("induction_k").model)
    assert token_match(k, (0, 0)) <= 1 / k.d_vocab


def test_token_scores_are_the_model_s_scores_without_positions(generator):
    config = TransformerConfig(n_layers=1, n_heads=1, d_model=8, d_head=4, d_vocab=5, n_ctx=5, positions="none")
    model = Transformer(config, generator).double()
    tokens = torch.arange(5)
    scores = record(model, tokens[None], names="blocks.0.attn.hook_attn_scores")["blocks.0.attn.hook_attn_scores"]
    expected = token_scores(weights_of(model), (0, 0), tokens)
    lower = torch.ones(5, 5, dtype=torch.bool).tril()
    assert torch.allclose(scores[0, 0][lower], expected[lower], atol=1e-12)


def test_an_unknown_head_is_refused():
    with pytest.raises(InputError, match=r"L0H7 is head 7"):
        positional_pattern(weights_of(make("induction_k").model), (0, 7))


def test_a_sample_of_tokens_matches_as_often_as_the_vocabulary(generator):
    config = TransformerConfig(n_layers=1, n_heads=1, d_model=16, d_head=8, d_vocab=300, n_ctx=5, init_range=0.4)
    w = weights_of(Transformer(config, generator))
    w = dataclasses.replace(w, W_K=w.W_Q)
    whole = token_match(w, (0, 0), exclude=3)
    assert 0.1 < whole < 0.9
    everything = token_match(w, (0, 0), exclude=3, sample=10**6, generator=generator)
    assert everything == pytest.approx(whole, abs=1e-12)
    parts = [token_match(w, (0, 0), exclude=3, sample=60, generator=generator) for _ in range(300)]
    assert sum(parts) / 300 == pytest.approx(whole, abs=3 * 0.5 / 60**0.5 / 300**0.5)
    assert len(set(parts)) > 2


def test_a_sample_needs_a_generator_and_lifts_the_limit_on_the_vocabulary():
    config = TransformerConfig(n_layers=1, n_heads=1, d_model=2, d_head=2, d_vocab=20_001, n_ctx=5)
    w = weights_of(Transformer(config, torch.Generator().manual_seed(0)))
    with pytest.raises(InputError, match="too many"):
        token_match(w, (0, 0))
    for options in ({"sample": 5}, {"sample": 0, "generator": torch.Generator()}):
        with pytest.raises(InputError, match="at least 1 token is drawn with generator"):
            token_match(w, (0, 0), **options)
    assert token_match(w, (0, 0), sample=5, generator=torch.Generator().manual_seed(0)) in [k / 5 for k in range(6)]
