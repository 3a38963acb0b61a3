"""What handmade models do on other sequences than their example: many repeats, repeats in a block, other periods."""

import math

import numpy as np
import pytest
import torch

from tests.toy_models.handmade_measures import accuracy, copy_mass, loss, prefix_mass, run
from toy_models.handmade import make, repeated_tokens
from toy_models.handmade.blocks import Size
from toy_models.handmade.model import next_in_copy, seen_before

LARGE = {"d_vocab": 24, "n_ctx": 128}
LARGE_SIZE = Size(d_vocab=24, n_ctx=128)
INDUCTION = ["induction_k", "induction_q", "induction_both", "induction_shared", "induction_smeared"]


def repeated_blocks(period, repeats, d_vocab, n=6, seed=5):
    """Token 0, then a block drawn with replacement, `repeats` times over."""
    generator = torch.Generator().manual_seed(seed)
    block = torch.randint(1, d_vocab, (n, period), generator=generator)
    return torch.cat([torch.zeros(n, 1, dtype=torch.long), block.repeat(1, repeats)], dim=1)


def patterns_of(handmade, tokens, role):
    with torch.no_grad():
        patterns = run(handmade.model, tokens)[1]
    return [patterns[layer][:, index] for layer, index in handmade.truth.heads(role)]


def slow_twin_of_induction_by_k(tokens, V=16, T=34, beta=40.0, gain=12.0):
    """The K model in numpy, from its description: scores are not divided by anything, positions one by one."""
    tok, pos, prev, out = (slice(a, b) for a, b in ((0, V), (V, V + T), (V + T, 2 * V + T), (2 * V + T, 3 * V + T)))
    x = np.zeros((len(tokens), 3 * V + T))
    for p, t in enumerate(tokens):
        x[p, tok][t] = 1.0
        x[p, pos][p] = 1.0
    shift = np.zeros((T, T))
    for p in range(T):
        shift[p, max(p - 1, 0)] = 1.0
    for query, table, key, write, strength in (
        (pos, beta * shift, pos, prev, 1.0),
        (tok, beta * np.eye(V), prev, out, gain),
    ):
        added = np.zeros_like(x)
        for p in range(len(tokens)):
            scores = np.array([x[p, query] @ table @ x[j, key] for j in range(p + 1)])
            weights = np.exp(scores - scores.max())
            weights /= weights.sum()
            added[p, write] = strength * sum(w * x[j, tok] for j, w in enumerate(weights))
        x = x + added
    return x[:, out]


def test_numpy_twin_of_the_k_model_gives_the_same_logits():
    handmade = make("induction_k")
    free = torch.randint(0, 16, (3, 34), generator=torch.Generator().manual_seed(1))
    for tokens in [*handmade.example_tokens, *free]:
        with torch.no_grad():
            ours = handmade.model(tokens[None])[0].numpy()
        np.testing.assert_allclose(ours, slow_twin_of_induction_by_k(tokens.tolist()), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", INDUCTION)
@pytest.mark.parametrize("period, repeats", [(10, 4), (25, 5), (40, 3)])
def test_induction_heads_match_prefixes_with_all_their_attention_on_many_repeats(name, period, repeats):
    handmade = make(name, **LARGE)
    tokens = repeated_blocks(period, repeats, 24)
    seen = seen_before(tokens)
    for pattern in patterns_of(handmade, tokens, "induction"):
        assert prefix_mass(pattern, tokens)[seen].min().item() > 0.999


def test_k_model_shares_attention_evenly_among_all_followers():
    handmade, tokens = make("induction_k", **LARGE), repeated_blocks(12, 5, 24)
    with torch.no_grad():
        logits = handmade.model(tokens)
    for b, p in seen_before(tokens).nonzero().tolist():
        followers = [int(tokens[b, j]) for j in range(1, p + 1) if tokens[b, j - 1] == tokens[b, p]]
        wanted = torch.bincount(torch.tensor(followers), minlength=24) * 12.0 / len(followers)
        torch.testing.assert_close(logits[b, p], wanted.double(), rtol=0, atol=1e-6)


def test_q_model_follows_the_most_recent_copy():
    handmade, tokens = make("induction_q", **LARGE), repeated_blocks(12, 5, 24)
    with torch.no_grad():
        logits = handmade.model(tokens)
    for b, p in seen_before(tokens).nonzero().tolist():
        latest = max(j for j in range(p) if tokens[b, j] == tokens[b, p])
        wanted = torch.zeros(24, dtype=torch.float64)
        wanted[tokens[b, latest + 1]] = 12.0
        torch.testing.assert_close(logits[b, p], wanted, rtol=0, atol=0.01)


def test_q_model_without_recency_averages_its_pointers():
    handmade, tokens = make("induction_q", recency=0.0, **LARGE), repeated_tokens(LARGE_SIZE, 10, 4)
    (pointer,) = patterns_of(handmade, tokens, "duplicate-token")
    (follower,) = patterns_of(handmade, tokens, "induction")
    third = slice(21, 31)  # two earlier copies
    assert copy_mass(pointer, tokens)[:, third].min().item() > 1 - 1e-6
    for back in (10, 20):
        along = pointer.diagonal(-back, -2, -1)[:, 21 - back : 31 - back]
        torch.testing.assert_close(along, torch.full_like(along, 0.5), rtol=0, atol=1e-6)
        along = follower.diagonal(1 - back, -2, -1)[:, 22 - back : 32 - back]
        torch.testing.assert_close(along, torch.full_like(along, 0.5), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", INDUCTION)
def test_induction_models_predict_the_next_token_from_the_second_copy_on(name):
    handmade = make(name, **LARGE)
    for period in (5, 11, 23):
        tokens = repeated_tokens(LARGE_SIZE, period, 4)
        with torch.no_grad():
            logits = handmade.model(tokens)
        assert accuracy(logits, next_in_copy(tokens)) == 1.0
        assert loss(logits, next_in_copy(tokens)) == pytest.approx(math.log1p(23 * math.exp(-12)), abs=1e-6)


def test_one_of_two_feeds_that_share_by_strength_suffices_and_by_tokens_does_not():
    for share, lost in (("strength", 9.2e-5), ("tokens", 1.0)):
        handmade = make("induction_shared", share=share)
        for index in range(2):
            logits, _, _ = run(handmade.model, handmade.example_tokens, without=[(0, index)])
            assert (loss(logits, handmade.answers) > 1.0) == (lost >= 1.0)


def test_a_first_token_that_comes_again_is_remembered_as_its_own_predecessor():
    (pattern,) = patterns_of(make("induction_k"), torch.tensor([[3, 5, 7, 3]]), "induction")
    torch.testing.assert_close(
        pattern[0, 3], torch.tensor([0.5, 0.5, 0.0, 0.0], dtype=torch.float64), rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("period", [7, 10, 14])
def test_positional_decoy_matches_prefixes_on_its_own_period_only(period):
    handmade = make("positional")
    tokens = repeated_tokens(Size(), period)
    (pattern,) = patterns_of(handmade, tokens, "positional")
    with torch.no_grad():
        assert accuracy(handmade.model(tokens), next_in_copy(tokens)) == 0.0
    assert prefix_mass(pattern, tokens)[seen_before(tokens)].max().item() < 1e-9


def test_literal_readings_predict_the_token_before_and_the_present_one():
    for name, back in (("literal_previous", 1), ("literal_current", 0)):
        handmade = make(name, **LARGE)
        tokens = repeated_tokens(LARGE_SIZE, 20, 4)
        with torch.no_grad():
            guesses = handmade.model(tokens).argmax(-1)
        later = slice(42, 81)  # from the second token of the third copy on
        assert torch.equal(guesses[:, later], tokens[:, 42 - back : 81 - back])
        assert accuracy(handmade.model(tokens), next_in_copy(tokens)) == 0.0


def test_anti_copying_makes_the_next_token_the_least_likely():
    handmade, tokens = make("anti_copying", **LARGE), repeated_tokens(LARGE_SIZE, 20, 4)
    targets = next_in_copy(tokens)
    with torch.no_grad():
        logits = handmade.model(tokens)
    assert accuracy(-logits, targets) == 1.0


def test_duplicate_token_head_looks_at_itself_where_there_is_no_copy():
    handmade, tokens = make("duplicate_token", **LARGE), repeated_blocks(20, 3, 24)
    (pattern,) = patterns_of(handmade, tokens, "duplicate-token")
    seen = seen_before(tokens)
    assert copy_mass(pattern, tokens)[seen].min().item() > 0.999
    assert pattern.diagonal(0, -2, -1)[~seen].min().item() > 1 - 1e-6


def test_skip_trigrams_bring_the_ones_that_nobody_asked_for():
    handmade = make("skip_trigram")
    word = {label: i for i, label in enumerate(handmade.labels)}
    asked, forced = [("in", "mind"), ("at", "bay")], [("in", "bay"), ("at", "mind")]
    for present, following_word in asked + forced:
        tokens = torch.tensor([[word["<bos>"], word["w0"], word["keep"], word["w1"], word[present]]])
        with torch.no_grad():
            logits = handmade.model(tokens)[0, -1]
        assert logits[word[following_word]].item() == pytest.approx(12.0, abs=1e-6)
        assert logits.sum().item() == pytest.approx(24.0, abs=1e-6)


@pytest.mark.parametrize("words", ["<bos> w0 w2 w1 in", "<bos> w0 keep w1 w2", "<bos> w0 keep w1 bay"])
def test_skip_trigrams_say_nothing_without_their_source_or_their_present_word(words):
    handmade = make("skip_trigram")
    tokens = torch.tensor([[handmade.labels.index(word) for word in words.split()]])
    with torch.no_grad():
        assert handmade.model(tokens)[:, -1].abs().max().item() < 1e-6


def test_random_weights_have_the_norms_of_the_model_they_stand_beside():
    random, made = make("random_weights").model, make("induction_k").model
    for name, value in made.named_parameters():
        drawn = dict(random.named_parameters())[name]
        torch.testing.assert_close(drawn.norm(dim=(-2, -1)), value.norm(dim=(-2, -1)))
        assert (drawn - value).norm() > 0.5 * value.norm()


def test_controls_depend_on_their_seed():
    for name in ("random_weights", "untrained"):
        assert not torch.equal(make(name, seed=0).model.W_Q, make(name, seed=1).model.W_Q)
        assert torch.equal(make(name, seed=1).model.W_Q, make(name, seed=1).model.W_Q)
