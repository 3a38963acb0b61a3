"""A bidirectional model: what does not need causality measures it exactly, what does refuses it in one line."""

import dataclasses

import pytest
import torch

from analyses.audit import audit
from analyses.paths.sample import Sample
from analyses.paths.scores import score_runs
from interp.ablation import edge_effects, head_effects, unit_effects
from interp.causality import attention_dir, require_causal
from interp.circuits.implied import positional_pattern
from interp.edges import edge_problem, graph_of, run_graph
from interp.edges.graph_run import embeddings
from interp.errors import InputError
from interp.heads import measure_heads, next_token_push, score_heads, scores_by_position
from interp.heads.attended import attended_push
from interp.heads.positional import positional_readings
from interp.heads.predicted import predicted_readings
from interp.hooks import record
from interp.in_context import loss_by_position
from interp.lens import direct_logit_attribution, logit_lens
from interp.names import Head
from interp.patching import activation_patches, loss
from interp.paths import logit_paths, score_paths, term_importance
from interp.weights import weights_of
from tests.reference_transformer import random_model, random_tokens
from toy_models.bridge import to_bridge
from toy_models.config import TransformerConfig, from_dict, to_dict
from toy_models.errors import InputError as ConfigError
from toy_models.task_config import RepeatedTokensConfig
from toy_models.train_config import RunConfig

BOTH_WAYS = TransformerConfig(
    n_layers=2, n_heads=2, d_model=8, d_head=4, d_vocab=11, n_ctx=9, normalization="LN", d_mlp=5,
    attention_dir="bidirectional",
)  # fmt: skip
PATTERN, Q, K = (f"blocks.1.attn.hook_{name}" for name in ("pattern", "q", "k"))


@pytest.fixture(scope="module")
def model():
    return random_model(BOTH_WAYS)


@pytest.fixture(scope="module")
def tokens():
    return random_tokens(BOTH_WAYS)


def scored_of(tokens):
    return torch.arange(tokens.shape[1]).expand_as(tokens) > 2


REFUSED = {
    "audit": lambda m, t, g: audit(m),
    "measure_heads": lambda m, t, g: measure_heads(m, g),
    "score_heads": lambda m, t, g: score_heads(m, t, g),
    "scores_by_position": lambda m, t, g: scores_by_position(m, t, g),
    "next_token_push": lambda m, t, g: next_token_push(m, weights_of(m), t, scored_of(t), g, protocol=""),
    "attended_push": lambda m, t, g: attended_push(m, weights_of(m), t, g, protocol=""),
    "positional_readings": lambda m, t, g: positional_readings(m, t, ""),
    "predicted_readings": lambda m, t, g: predicted_readings(m, weights_of(m), t, g),
    "head_effects": lambda m, t, g: head_effects(m, t, scored_of(t), g),
    "edge_effects": lambda m, t, g: edge_effects(m, Head(1, 0), t, scored_of(t), g),
    "unit_effects": lambda m, t, g: unit_effects(m, "blocks.0.mlp.hook_post", t, scored_of(t), g),
    "edge_problem": lambda m, t, g: edge_problem(weights_of(m, fold=False), t, scored_of(t), ablation="mean"),
    "loss_by_position": lambda m, t, g: loss_by_position(m, t, g),
    "logit_lens": lambda m, t, g: logit_lens(m, t, g),
    "attribution": lambda m, t, g: direct_logit_attribution(m, t),
    "logit_paths": lambda m, t, g: logit_paths(m, t),
    "term_importance": lambda m, t, g: term_importance(m, t, g),
    "activation_patches": lambda m, t, g: activation_patches(
        m, t, t.roll(1, 0), loss(t, scored_of(t)), g, names="blocks.0.attn.hook_z"
    ),
    "score_runs": lambda m, t, g: score_runs(m, Sample(t, scored_of(t), "given", None), g),
}


@pytest.mark.parametrize("ask", REFUSED.values(), ids=REFUSED)
def test_what_predicts_the_next_token_or_looks_back_refuses_a_model_that_looks_ahead(model, tokens, generator, ask):
    with pytest.raises(InputError, match=r"needs a causal model: with attention_dir='bidirectional'"):
        ask(model, tokens, generator)


def test_training_on_the_next_token_refuses_it_before_it_starts():
    task = RepeatedTokensConfig(d_vocab=11, n_ctx=9, min_period=2, max_period=4, max_offset=1)
    with pytest.raises(ConfigError, match="predicts the next token, which attention_dir='bidirectional' lets"):
        RunConfig(BOTH_WAYS, task)


def test_a_config_written_before_the_option_existed_is_causal():
    old = {name: value for name, value in to_dict(TransformerConfig()).items() if name != "attention_dir"}
    assert from_dict(TransformerConfig, old).attention_dir == "causal"


def test_the_way_a_model_looks_is_read_from_it_its_weights_or_its_bridge(model):
    bridge = to_bridge(model)
    for each in (model, weights_of(model), bridge, weights_of(bridge)):
        assert attention_dir(each) == "bidirectional"
    require_causal(random_model(dataclasses.replace(BOTH_WAYS, attention_dir="causal")), "this")


def test_paths_of_given_targets_add_up_to_the_logits_of_a_bidirectional_model(model, tokens):
    assert logit_paths(model, tokens, tokens).error < 1e-12
    assert direct_logit_attribution(model, tokens, tokens).error < 1e-12
    assert score_paths(model, tokens, (1, 0)).error < 1e-12


def test_with_every_edge_open_the_graph_of_a_bidirectional_model_gives_its_logits(model, tokens):
    w = weights_of(model, fold=False)
    graph = graph_of(w)
    logits, _ = run_graph(w, graph, embeddings(w, graph, tokens))
    torch.testing.assert_close(logits, model(tokens).detach(), rtol=0, atol=1e-12)


def test_the_score_of_a_later_source_is_the_rotation_by_a_negative_offset(tokens):
    rotary = random_model(dataclasses.replace(BOTH_WAYS, positions="rotary", normalization="none"))
    w = weights_of(rotary)
    run = record(rotary, tokens, names=[Q, K, "blocks.1.attn.hook_attn_scores"])
    q, k = run[Q][0, 2, 1], run[K][0, 6, 1]
    score = q @ w.rotation(2 - 6) @ k / w.attn_scale
    torch.testing.assert_close(score, run["blocks.1.attn.hook_attn_scores"][0, 1, 2, 6], rtol=0, atol=1e-12)
    with pytest.raises(InputError, match=r"must lie in -8..8, got -9"):
        w.rotation(-9)


def test_the_positional_pattern_of_a_bidirectional_model_is_that_of_a_sequence_of_mean_tokens():
    one = random_model(dataclasses.replace(BOTH_WAYS, n_layers=1, d_mlp=0))
    implied = torch.stack([positional_pattern(weights_of(one), (0, h)) for h in range(2)])
    with torch.no_grad():
        one.embed.W_E[0] = one.embed.W_E.mean(0)
    name = "blocks.0.attn.hook_pattern"
    pattern = record(one, torch.zeros(1, 9, dtype=torch.long), names=name)[name][0]
    torch.testing.assert_close(implied, pattern, rtol=0, atol=1e-12)
