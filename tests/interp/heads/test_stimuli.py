"""Random tokens that repeat, and controls in which no scored entry is a match any more."""

from itertools import combinations

import pytest
import torch

from interp.errors import InputError
from interp.heads import Protocol, olsson_protocol, predictable_positions, repeated_tokens
from interp.heads.stimuli import drawable, fresh_control, other_periods, random_tokens


def matches(row):
    """All (dest, earlier copy) pairs of a sequence, in plain Python."""
    return [(i, m) for i in range(len(row)) for m in range(i) if row[i] == row[m]]


@pytest.mark.parametrize("bos", [None, 0, 39])
def test_blocks_repeat_behind_bos_and_hold_different_tokens(generator, bos):
    protocol = Protocol(repeats=3, period=20, d_vocab=40, bos=bos)
    tokens = repeated_tokens(protocol, 50, generator)
    start = 0 if bos is None else 1
    assert tokens.shape == (50, start + 60)
    for row in tokens.tolist():
        assert row[:start] == [bos] * start
        block = row[start : start + 20]
        assert row[start:] == block * 3
        assert len(set(block)) == 20
        assert bos not in block
    assert set(tokens[:, start:].flatten().tolist()) == set(range(40)) - {bos}


def test_every_token_is_drawn_equally_often(generator):
    counts = random_tokens(4000, 3, torch.arange(10), generator).flatten().bincount(minlength=10)
    # 12000 draws: 1200 each, standard deviation sqrt(4000 * .3 * .7) = 29.
    assert counts.tolist() == pytest.approx([1200] * 10, abs=130)


def test_excluded_tokens_are_never_drawn(generator):
    protocol = Protocol(2, 4, d_vocab=8, bos=3, excluded=(0, 7))
    tokens = repeated_tokens(protocol, 100, generator)
    assert set(tokens[:, 1:].flatten().tolist()) == {1, 2, 4, 5, 6}
    assert drawable(8, 3, (0, 7)).tolist() == [1, 2, 4, 5, 6]


def test_a_small_vocabulary_repeats_tokens_within_a_block_and_says_so(generator):
    protocol = Protocol(2, 8, d_vocab=2)
    assert not protocol.distinct
    assert "drawn with replacement" in protocol.text
    tokens = repeated_tokens(protocol, 200, generator)
    assert len({tuple(row) for row in tokens[:, :8].tolist()}) > 100  # of 256 blocks
    assert torch.equal(tokens[:, :8], tokens[:, 8:])
    assert "different within a block" in Protocol(2, 8, d_vocab=8).text


@pytest.mark.parametrize(
    "d_vocab, n_ctx, bos, repeats, period",
    [
        (50257, 1024, 50256, 4, 25),  # the paper's own
        (64, 101, 0, 4, 25),
        (64, 100, 0, 4, 24),
        (64, 64, 0, 4, 15),
        (64, 64, None, 4, 16),
        (16, 34, 0, 4, 8),  # a handmade model
        (12, 1024, 0, 4, 11),  # the vocabulary is the limit
        (2, 1024, None, 4, 8),  # too small a vocabulary for different tokens
        (64, 26, None, 3, 8),
        (64, 20, None, 2, 10),
        (64, 4, None, 2, 2),
    ],
)
def test_olssons_protocol_or_the_largest_like_it_that_fits(d_vocab, n_ctx, bos, repeats, period):
    protocol = olsson_protocol(d_vocab, n_ctx, bos)
    assert (protocol.repeats, protocol.period) == (repeats, period)
    assert protocol.length <= n_ctx
    assert f"{repeats} x {period}" in protocol.text
    assert ("have 4 x 25" in protocol.text) == ((repeats, period) != (4, 25))


@pytest.mark.parametrize(
    "d_vocab, n_ctx, bos, periods",
    [
        (64, 64, 0, [15, 31, 11, 7]),
        (16, 34, 0, [8, 15, 7, 9]),
        (50257, 1024, None, [25, 64, 19, 12]),
        (12, 1024, None, [12, 11, 10, 7]),
        (9, 40, 0, [8, 7, 5]),
        (2, 64, None, [8, 7, 5]),
        (64, 8, None, [4, 3]),
        (64, 4, None, [2]),
    ],
)
def test_a_head_that_looks_a_fixed_distance_back_meets_one_period_only(d_vocab, n_ctx, bos, periods):
    """For each period: the distances from a query to what follows its copies. No distance is at home in two."""
    first = olsson_protocol(d_vocab, n_ctx, bos)
    protocols = [first, *other_periods(first, n_ctx)]
    assert [p.period for p in protocols] == periods
    assert all(p.length <= n_ctx for p in protocols)
    at_home = []
    for protocol in protocols:
        row = (list(range(protocol.period)) * protocol.repeats)[: protocol.length]
        at_home.append({i - (m + 1) for i, m in matches(row)})
    for a, b in combinations(at_home, 2):
        assert not a & b


@pytest.mark.parametrize("d_vocab, n_ctx, bos", [(64, 64, 0), (16, 34, 0), (50257, 1024, None), (2, 64, None)])
def test_every_period_asks_about_the_positions_of_the_first_one(d_vocab, n_ctx, bos):
    first = olsson_protocol(d_vocab, n_ctx, bos)
    for other in other_periods(first, n_ctx):
        assert first.length - other.period < other.length


def test_the_longest_period_that_fits_twice_is_among_the_others():
    assert other_periods(olsson_protocol(64, 64, 0), 64)[0].period == 31
    assert other_periods(olsson_protocol(16, 34, 0), 34)[0].period == 15


def test_predictable_are_the_tokens_after_the_first_of_the_second_copy():
    mask = predictable_positions(Protocol(3, 4, d_vocab=9, bos=0), 2)
    assert mask.shape == (2, 13)
    assert mask[1].nonzero()[:, 0].tolist() == [6, 7, 8, 9, 10, 11, 12]


@pytest.mark.parametrize(
    "protocol, kind",
    [
        (Protocol(4, 15, d_vocab=64, bos=0), "do not occur earlier"),
        (Protocol(4, 15, d_vocab=61, bos=60), "do not occur earlier"),  # exactly 60 tokens for 60 places
        (Protocol(4, 15, d_vocab=60, bos=0), "cyclic shift"),
        (Protocol(4, 8, d_vocab=8), "cyclic shift"),
        (Protocol(4, 4, d_vocab=5, bos=2), "cyclic shift"),
        (Protocol(4, 8, d_vocab=5), "one query at a time"),
        (Protocol(4, 3, d_vocab=3), "one query at a time"),  # different tokens, but fewer than repeats
        (Protocol(2, 8, d_vocab=2), "one query at a time"),
        (Protocol(2, 2, d_vocab=2), "cyclic shift"),
        (Protocol(4, 8, d_vocab=9, bos=4, excluded=(0, 1, 2)), "one query at a time"),
    ],
)
def test_in_the_control_no_query_equals_a_token_that_it_equals_in_the_original(generator, protocol, kind):
    tokens = repeated_tokens(protocol, 30, generator)
    before = tokens.clone()
    control = fresh_control(tokens, protocol, generator)
    assert kind in control.text
    assert torch.equal(tokens, before)
    allowed = set(protocol.symbols.tolist())
    assert len(control.tokens) == 30 * control.copies
    for row, changed in enumerate(control.tokens.tolist()):
        original = tokens[row // control.copies].tolist()
        assert changed[: protocol.start] == original[: protocol.start]
        assert set(changed[protocol.start :]) <= allowed
        read = control.queries[row].tolist()
        broken = [changed[i] != changed[m] for i, m in matches(original) if read[i]]
        assert broken
        assert all(broken)


def test_fresh_tokens_never_occur_earlier_and_the_first_block_stays(generator):
    protocol = Protocol(4, 15, d_vocab=64, bos=0)
    tokens = repeated_tokens(protocol, 20, generator)
    control = fresh_control(tokens, protocol, generator)
    assert torch.equal(control.tokens[:, :16], tokens[:, :16])
    for row in control.tokens.tolist():
        assert matches(row) == []
    assert control.copies == 1
    assert bool(control.queries.all())


def test_renamed_copies_are_permutations_of_the_first_block_when_it_holds_all_tokens(generator):
    protocol = Protocol(3, 6, d_vocab=6)
    tokens = repeated_tokens(protocol, 20, generator)
    control = fresh_control(tokens, protocol, generator)
    for row, original in zip(control.tokens.tolist(), tokens.tolist(), strict=True):
        assert row[:6] == original[:6]
        shifts = [{(b - a) % 6 for a, b in zip(row[:6], row[k : k + 6], strict=True)} for k in (6, 12)]
        assert all(len(shift) == 1 for shift in shifts)
        assert len({0} | shifts[0] | shifts[1]) == 3


def test_one_query_at_a_time_changes_one_token_that_has_an_earlier_copy(generator):
    protocol = Protocol(2, 8, d_vocab=3)
    tokens = repeated_tokens(protocol, 10, generator)
    control = fresh_control(tokens, protocol, generator, max_queries=5)
    assert control.copies == 5
    changed_at = set()
    for row in range(50):
        original, changed = tokens[row // 5].tolist(), control.tokens[row].tolist()
        differing = [i for i in range(16) if original[i] != changed[i]]
        assert control.queries[row].nonzero()[:, 0].tolist() == differing
        assert len(differing) == 1
        assert original[differing[0]] in original[: differing[0]]
        changed_at.add((row // 5, differing[0]))
    assert len(changed_at) == 50  # never the same query twice


def test_control_entries_are_the_originals_at_the_marked_queries(generator):
    protocol = Protocol(2, 8, d_vocab=2)
    tokens = repeated_tokens(protocol, 4, generator)
    control = fresh_control(tokens, protocol, generator, max_queries=3)
    original = torch.rand(4, 16, 16, generator=generator) < 0.5
    entries = control.entries(original)
    for row in range(12):
        for dest in range(16):
            expected = original[row // 3, dest] if control.queries[row, dest] else torch.zeros(16, dtype=torch.bool)
            assert torch.equal(entries[row, dest], expected)


def test_the_same_generator_gives_the_same_tokens():
    protocol = Protocol(2, 10, d_vocab=50)
    first, second = (repeated_tokens(protocol, 3, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(first, second)


def test_what_cannot_repeat_is_refused(generator):
    with pytest.raises(InputError, match="at least 2 repeats of 2 tokens, got 1 repeats of 5"):
        Protocol(1, 5, d_vocab=10)
    with pytest.raises(InputError, match="at least 2 to draw from, besides BOS and excluded ones there are 1"):
        olsson_protocol(2, 64, bos=0)
    with pytest.raises(InputError, match="need 5 positions, the context holds 4"):
        olsson_protocol(64, 4, bos=0)
    with pytest.raises(InputError, match=r"bos 64 is outside the vocabulary 0\.\.63"):
        olsson_protocol(64, 64, bos=64)
    with pytest.raises(InputError, match="excluded -1"):
        olsson_protocol(64, 64, excluded=(-1,))
    with pytest.raises(InputError, match="at least 1, got 0"):
        repeated_tokens(Protocol(2, 5, d_vocab=10), 0, generator)
