"""Which logits are scored for which token, against sums written out."""

import math

import pytest
import torch

from tests.small_runs import MODEL
from toy_models.tasks import Batch
from toy_models.training.losses import batch_losses, evaluate, next_token_loss
from toy_models.transformer import Transformer


@pytest.fixture
def example(generator):
    tokens = torch.randint(0, 5, (3, 4), generator=generator)
    predictable = torch.rand(3, 4, generator=generator) < 0.5
    predictable[:, 0] = False
    return torch.randn(3, 4, 5, generator=generator), Batch(tokens, predictable)


def by_hand(logits, batch, predictable_only: bool) -> float:
    total, count = 0.0, 0
    for b in range(logits.shape[0]):
        for i in range(1, logits.shape[1]):
            if batch.predictable[b, i] or not predictable_only:
                row = logits[b, i - 1].double()
                total -= float(row[batch.tokens[b, i]] - row.exp().sum().log())
                count += 1
    return total / count


def test_the_token_at_i_is_scored_by_the_logits_before_it(example):
    logits, batch = example
    losses = batch_losses(logits, batch)
    assert losses.all == pytest.approx(by_hand(logits, batch, False), rel=1e-6)
    assert losses.predictable == pytest.approx(by_hand(logits, batch, True), rel=1e-6)
    assert losses.all != pytest.approx(losses.predictable, abs=0.01)
    assert next_token_loss(logits, batch.tokens).item() == pytest.approx(losses.all, rel=1e-6)


def test_equal_logits_score_ln_of_the_vocabulary(example):
    assert batch_losses(torch.zeros(3, 4, 5), example[1]).predictable == pytest.approx(math.log(5), rel=1e-6)


def test_no_predictable_position_gives_no_predictable_loss(example):
    logits, batch = example
    assert batch_losses(logits, Batch(batch.tokens, torch.zeros_like(batch.predictable))).predictable is None


def test_a_sample_measured_in_chunks_has_the_same_losses(generator):
    model = Transformer(MODEL, generator)
    tokens = torch.randint(0, 12, (7, 9), generator=generator)
    batch = Batch(tokens, torch.rand(7, 9, generator=generator) < 0.3)
    whole = batch_losses(model(tokens), batch)
    for chunk in (1, 3, 7, 100):
        losses = evaluate(model, batch, chunk)
        assert losses.all == pytest.approx(whole.all, rel=1e-6)
        assert losses.predictable == pytest.approx(whole.predictable, rel=1e-6)
