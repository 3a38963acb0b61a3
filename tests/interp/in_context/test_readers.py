"""Ideal readers beside all sequences of a tiny protocol, enumerated."""

import math
from collections import Counter, defaultdict
from itertools import permutations

import pytest
import torch

from interp.heads import Protocol, olsson_protocol, predictable_positions
from interp.in_context import reader_losses


def enumerated(protocol, seen):
    """Mean loss at each position of the reader that knows the protocol and `seen(prefix)`: exact chances."""
    start = [] if protocol.bos is None else [protocol.bos]
    sequences = [
        start + list(block) * protocol.repeats for block in permutations(protocol.symbols.tolist(), protocol.period)
    ]
    losses = []
    for position in range(1, protocol.length):
        chances = defaultdict(Counter)
        for row in sequences:
            chances[seen(row[:position])][row[position]] += 1
        nats = [
            -math.log(chances[key][row[position]] / chances[key].total())
            for row in sequences
            for key in [seen(row[:position])]
        ]
        losses.append(sum(nats) / len(nats))
    return torch.tensor(losses, dtype=torch.float64)


@pytest.mark.parametrize("protocol", [Protocol(3, 3, 6, 0), Protocol(2, 4, 5, None), Protocol(2, 3, 4, 2, (1,))])
def test_readers_lose_what_all_sequences_of_the_protocol_say(protocol):
    if not protocol.distinct:
        assert reader_losses(protocol) is None
        return
    found = reader_losses(protocol)
    assert found is not None
    torch.testing.assert_close(found.best, enumerated(protocol, tuple))
    counted = enumerated(protocol, lambda prefix: frozenset(Counter(prefix).items()))
    torch.testing.assert_close(found.order_free, counted)


def test_counting_alone_gains_much_of_the_demos_protocol():
    protocol = olsson_protocol(64, 64, 0)
    found = reader_losses(protocol)
    assert found is not None
    best, counting = found.gain(predictable_positions(protocol, 1)[0])
    # 46 unpredictable tokens: 15 of the first block (less BOS) and the first of the second; the other 44 repeat
    first = [math.log(63 - i) for i in range(15)]
    later = [math.log(15 - i) for i in range(15)]
    assert best == pytest.approx(sum(first) / 16, abs=1e-12)
    mean = (sum(later[1:]) + 2 * sum(later)) / 44
    assert counting == pytest.approx((sum(first) + later[0]) / 16 - mean, abs=1e-12)
    assert found.to_dict()["order_free"][:3] == [math.log(63), math.log(62), math.log(61)]
