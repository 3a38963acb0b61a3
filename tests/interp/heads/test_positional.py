"""Patterns that are functions of position, and patterns that are not."""

import pytest
import torch

from interp.heads import olsson_protocol
from interp.heads.positional import even_attention, positional_readings, scattered_tokens
from toy_models.handmade import make
from toy_models.handmade.variants import with_idle_heads

PROTOCOL = olsson_protocol(16, 34, bos=0)


def readings_of(handmade, generator):
    return positional_readings(handmade.model, scattered_tokens(PROTOCOL, 16, generator), "scattered tokens")


def test_scattered_tokens_come_again_at_more_than_one_distance(generator):
    tokens = scattered_tokens(PROTOCOL, 8, generator)
    assert tokens.shape == (8, PROTOCOL.length)
    assert (tokens[:, 0] == 0).all()
    assert (tokens[:, 1:] > 0).all()
    assert all(len(set(row.tolist())) <= PROTOCOL.period + 1 for row in tokens)
    same = (tokens[:, :, None] == tokens[:, None, :]).tril(-1).nonzero()
    assert len(set((same[:, 1] - same[:, 2]).tolist())) > 10


@pytest.mark.parametrize("name", ["previous_token", "shift_by", "current_token", "first_token_sink"])
def test_a_pattern_by_position_alone_is_the_mean_of_all_others(name, generator):
    found = readings_of(make(name), generator)
    torch.testing.assert_close(found.share, torch.ones_like(found.share))


def test_the_distance_from_even_attention_of_a_head_with_one_key_is_what_the_other_keys_would_have(generator):
    found = readings_of(make("previous_token"), generator)
    rows = range(1, PROTOCOL.length)
    assert float(found.unevenness.mean()) == pytest.approx(sum(1 - 1 / (i + 1) for i in rows) / len(rows))


def test_a_head_that_follows_tokens_shares_nothing_with_other_sequences(generator):
    found = readings_of(make("induction_k"), generator)
    assert float(found.share[:, 1, 0].mean()) < 0.2
    assert float(found.unevenness[:, 1, 0].mean()) > 0.4


def test_even_attention_has_neither_share_nor_distance(generator):
    found = readings_of(with_idle_heads(make("previous_token")), generator)
    assert float(found.share[:, 0, 1].abs().max()) == 0
    assert float(found.unevenness[:, 0, 1].max()) < 1e-12
    torch.testing.assert_close(found.mean[0, 1], even_attention(PROTOCOL.length))


def test_only_a_sink_attends_to_the_first_position_late_in_a_sequence(generator):
    late = {
        name: float(readings_of(make(name), generator).late_first.mean()) for name in ("first_token_sink", "shift_by")
    }
    assert late == pytest.approx({"first_token_sink": 1.0, "shift_by": 0.0}, abs=1e-9)
