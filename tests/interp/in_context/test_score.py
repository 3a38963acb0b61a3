"""The in-context score: where it is read, its value on known models, and its nulls."""

import math

import pytest
import torch

from interp.errors import InputError
from interp.heads import olsson_protocol, repeated_tokens
from interp.heads.stimuli import random_tokens
from interp.in_context import in_context_score, loss_by_position, score_positions
from toy_models.config import TransformerConfig
from toy_models.handmade import make
from toy_models.training.seeds import generator_for
from toy_models.transformer import Transformer


@pytest.mark.parametrize(
    "length, positions",
    [(512, (49, 499)), (61, (5, 59)), (33, (2, 31)), (101, (9, 98)), (5, (1, 4)), (3, (1, 2))],
)
def test_score_is_read_at_the_shares_of_the_500th_and_the_50th_of_512(length, positions):
    assert score_positions(length) == positions


def test_score_of_handmade_induction_is_late_minus_early_loss(generator):
    protocol = olsson_protocol(16, 34, 0)
    losses = loss_by_position(make("induction_k").model, repeated_tokens(protocol, 8, generator), generator)
    found = in_context_score(losses, generator)
    late, early = math.log1p(15 * math.exp(-12)), math.log(2 * math.exp(6) + 14)
    assert (found.early, found.late) == (2, 31)
    assert found.score.mean == pytest.approx(late - early, abs=1e-9)
    assert "token 32 minus that of token 3, of 33 (Olsson et al. 2022: 500, 50, of 512)" in found.text


def test_score_at_given_positions_is_paired_by_sequence(generator):
    model = Transformer(TransformerConfig(), generator_for(0, "weights"))
    tokens = torch.randint(1, 64, (40, 20), generator=generator)
    losses = loss_by_position(model, tokens, generator)
    found = in_context_score(losses, generator, positions=(4, 17))
    pairs = losses.at(17) - losses.at(4)
    assert found.score.mean == pytest.approx(float(pairs.mean()))
    error = float(pairs.std()) / math.sqrt(40)
    assert found.score.high - found.score.low == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_scores_of_untrained_models_contain_0(generator):
    covered = 0
    for seed in range(12):
        model = Transformer(TransformerConfig(), generator_for(seed, "weights"))
        tokens = repeated_tokens(olsson_protocol(64, 64, 0), 32, generator)
        score = in_context_score(loss_by_position(model, tokens, generator), generator).score
        covered += score.low <= 0 <= score.high
        assert abs(score.mean) < 0.1
    assert covered >= 10


def test_induction_gains_nothing_on_tokens_that_do_not_repeat(generator):
    tokens = torch.nn.functional.pad(random_tokens(16, 32, torch.arange(1, 64), generator), (1, 0))
    model = make("induction_k", d_vocab=64).model
    score = in_context_score(loss_by_position(model, tokens, generator), generator).score
    # even attention over n different tokens: ln(n e^(gain / n) + V - n), the next token unseen
    late, early = (math.log(n * math.exp(12 / n) + 64 - n) for n in (31, 2))
    assert score.mean == pytest.approx(late - early, abs=1e-9)
    full = in_context_score(
        loss_by_position(model, repeated_tokens(olsson_protocol(64, 34, 0), 16, generator), generator), generator
    )
    assert full.score.high < score.low - 3


@pytest.mark.parametrize("positions, message", [((5, 5), "before the late one"), ((1, 40), "positions 1 to 19")])
def test_positions_that_are_not_predicted_are_refused(generator, positions, message):
    model = Transformer(TransformerConfig(), generator_for(0, "weights"))
    losses = loss_by_position(model, torch.randint(1, 64, (3, 20), generator=generator), generator)
    with pytest.raises(InputError, match=message):
        in_context_score(losses, generator, positions)


def test_two_tokens_have_no_score():
    with pytest.raises(InputError, match="needs 3 tokens"):
        score_positions(2)
