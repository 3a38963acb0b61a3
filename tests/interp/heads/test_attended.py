"""What heads raise where they attend, in nats that are known because the weights were set by hand."""

import torch

from interp.heads.attended import SHUFFLED, attended_push
from interp.weights import weights_of
from toy_models.handmade import make

TOKENS = torch.stack([torch.cat([torch.zeros(1, dtype=torch.long), 1 + torch.randperm(15)]) for _ in range(4)])
GAIN = 12.0


def push_of(name, generator, **options):
    model = make(name, **options).model
    return attended_push(model, weights_of(model), TOKENS, generator, protocol="different tokens")


def test_a_head_that_copies_its_own_token_raises_it_by_the_gain_above_the_vocabulary_s_mean(generator):
    found = push_of("current_token", generator)
    assert abs(float(found.score[0, 0]) - GAIN * (1 - 1 / 16)) < 1e-9


def test_the_null_is_the_mean_over_all_keys_that_a_query_may_see(generator):
    """Of i + 1 different tokens one is raised."""
    even = sum(1 / (i + 1) for i in range(1, 16)) / 15
    assert abs(float(push_of("current_token", generator).nulls[SHUFFLED][0, 0]) - GAIN * (even - 1 / 16)) < 1e-9


def test_a_head_that_lowers_what_it_attends_to_has_the_opposite_sign(generator):
    raised, lowered = (float(push_of("current_token", generator, gain=gain).score[0, 0]) for gain in (12.0, 1.0))
    assert raised > lowered > 0
    model = make("current_token").model
    with torch.no_grad():
        model.blocks[0].attn.W_O.neg_()
    found = attended_push(model, weights_of(model), TOKENS, generator, protocol="different tokens")
    assert abs(float(found.score[0, 0]) + raised) < 1e-9


def test_a_head_that_writes_nothing_raises_nothing(generator):
    found = push_of("first_token_sink", generator)
    assert float(found.score.abs().max()) == float(found.nulls[SHUFFLED].abs().max()) == 0
