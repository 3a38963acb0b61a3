"""The loss by position beside closed forms of a handmade model and a slow twin."""

import math

import pytest
import torch

from interp.errors import InputError
from interp.heads import Protocol, olsson_protocol, predictable_positions, repeated_tokens
from interp.in_context import loss_by_position
from toy_models.config import TransformerConfig
from toy_models.handmade import Size, make
from toy_models.handmade.model import copy_loss
from toy_models.transformer import Transformer

SMALL = TransformerConfig(n_layers=2, n_heads=2, d_model=12, d_head=5, d_vocab=12, n_ctx=20, init_range=0.5)


@pytest.fixture(scope="module")
def small():
    return Transformer(SMALL, torch.Generator().manual_seed(1))


def induction_losses(size, period, repeats):
    """Of the K model behind BOS: even attention over the n tokens read while nothing matches, then a copy."""
    losses = []
    for n in range(1, period + 1):
        losses.append(math.log(n * math.exp(size.gain / n) + size.d_vocab - n))
    n = period + 1  # the last token of the first block has no earlier copy either, but what follows it has been read
    losses.append(math.log(n * math.exp(size.gain / n) + size.d_vocab - n) - size.gain / n)
    return losses + [copy_loss(size)] * ((repeats - 1) * period - 1)


def test_loss_by_position_of_handmade_induction_is_its_closed_form(generator):
    size = Size()
    protocol = olsson_protocol(size.d_vocab, size.n_ctx, 0)
    tokens = repeated_tokens(protocol, 8, generator)
    found = loss_by_position(make("induction_k").model, tokens, generator)
    known = torch.tensor(induction_losses(size, protocol.period, protocol.repeats), dtype=torch.float64)
    assert found.positions == range(1, 33)
    torch.testing.assert_close(found.interval.mean, known, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.interval.high, found.interval.low, rtol=0, atol=1e-9)
    inside = predictable_positions(protocol, 8)[0, 1:]
    gain = known[~inside].mean() - known[inside].mean()
    torch.testing.assert_close(
        found.gain(predictable_positions(protocol, 8)), gain.expand(8), rtol=0, atol=1e-9, check_dtype=False
    )


def slow_losses(model, tokens):
    """Each prefix is run by itself."""
    rows = []
    for row in tokens.tolist():
        losses = []
        for end in range(1, len(row)):
            with torch.no_grad():
                last = model(torch.tensor([row[:end]]))[0, -1].double()
            weights = [math.exp(x) for x in last.tolist()]
            losses.append(-math.log(weights[row[end]] / sum(weights)))
        rows.append(losses)
    return torch.tensor(rows, dtype=torch.float64)


def test_loss_by_position_is_that_of_every_prefix_run_by_itself(small, generator):
    tokens = torch.randint(0, 12, (5, 9), generator=generator)
    found = loss_by_position(small, tokens, generator)
    slow = slow_losses(small, tokens)
    torch.testing.assert_close(found.samples, slow, rtol=0, atol=1e-4)
    torch.testing.assert_close(found.interval.mean, slow.mean(0), rtol=0, atol=1e-4)
    torch.testing.assert_close(found.at(3), slow[:, 2], rtol=0, atol=1e-4)
    assert bool((found.interval.low < found.interval.mean).all() and (found.interval.mean < found.interval.high).all())
    assert found.to_dict()["positions"] == list(range(1, 9))


def test_running_a_few_sequences_at_once_changes_no_loss(small, generator):
    tokens = torch.randint(0, 12, (5, 9), generator=generator)
    whole = loss_by_position(small, tokens, generator).samples
    torch.testing.assert_close(loss_by_position(small, tokens, generator, at_once=2).samples, whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda m, g: loss_by_position(m, torch.zeros(3, 1, dtype=torch.long), g), "at least 2 positions"),
        (lambda m, g: loss_by_position(m, torch.zeros(3, 4, dtype=torch.long), g, at_once=0), "at once, got 0"),
        (lambda m, g: loss_by_position(m, torch.zeros(3, 4, dtype=torch.long), g).at(0), "positions 1 to 3, got 0"),
        (lambda m, g: loss_by_position(m, torch.zeros(3, 4, dtype=torch.long), g).at(4), "positions 1 to 3, got 4"),
    ],
)
def test_what_cannot_be_measured_is_refused(small, generator, call, message):
    with pytest.raises(InputError, match=message):
        call(small, generator)


def test_a_gain_needs_both_kinds_of_token_in_every_sequence(small, generator):
    tokens = repeated_tokens(Protocol(2, 4, 12, 0), 3, generator)
    losses = loss_by_position(small, tokens, generator)
    mask = predictable_positions(Protocol(2, 4, 12, 0), 3)
    mask[1] = False
    with pytest.raises(InputError, match="a predictable and an unpredictable token in every sequence"):
        losses.gain(mask)
    with pytest.raises(InputError, match=r"must be \[3, 9\]"):
        losses.gain(mask[:, 1:])
