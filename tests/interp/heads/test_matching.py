"""Masks of entries against loops in plain Python, and patterns whose scores are known by construction."""

import math
from itertools import permutations

import pytest
import torch

from interp.heads import DETECTORS, Protocol, attention_entropy, repeated_tokens
from interp.heads.detectors import (
    BEFORE_COPY,
    CURRENT_TOKEN,
    DUPLICATE_TOKEN,
    FIRST_TOKEN,
    PREFIX_MATCHING,
    PREFIX_MATCHING_MEAN_ENTRY,
    PREVIOUS_TOKEN,
    VALUE_WEIGHTED_PREFIX_MATCHING,
)
from interp.heads.matching import (
    copy_entries,
    first_entries,
    highest_mean_entry,
    mass,
    mean_entry,
    offset_entries,
    shuffled_mass,
    shuffled_mean_entry,
    value_weighted,
)

LENGTH = 13


def some_tokens(generator, n=6, d_vocab=5):
    return torch.randint(d_vocab, (n, LENGTH), generator=generator)


def random_pattern(generator, n=6, heads=3, length=LENGTH):
    scores = torch.randn(n, heads, length, length, generator=generator, dtype=torch.float64)
    return scores.masked_fill(torch.ones(length, length).triu(1).bool(), -math.inf).softmax(-1)


def attends(entries):
    """A head that spreads its attention evenly over a query's entries, and rests on the query itself without any."""
    rest = torch.eye(entries.shape[1]).bool() & ~entries.any(-1, keepdim=True)
    pattern = (entries | rest).double()
    return (pattern / pattern.sum(-1, keepdim=True))[:, None]


def masked(tokens, holds):
    """The mask of all (i, j), j <= i, for which holds(row, i, j)."""
    n, length = tokens.shape
    mask = torch.zeros(n, length, length, dtype=torch.bool)
    for b, row in enumerate(tokens.tolist()):
        for i in range(length):
            for j in range(i + 1):
                mask[b, i, j] = holds(row, i, j)
    return mask


TWINS = {
    PREVIOUS_TOKEN: lambda row, i, j: j == i - 1,
    CURRENT_TOKEN: lambda row, i, j: j == i and i > 0,
    FIRST_TOKEN: lambda row, i, j: j == 0 and i > 0,
    DUPLICATE_TOKEN: lambda row, i, j: j < i and row[j] == row[i],
    PREFIX_MATCHING: lambda row, i, j: j > 0 and row[j - 1] == row[i],
    PREFIX_MATCHING_MEAN_ENTRY: lambda row, i, j: j > 0 and row[j - 1] == row[i],
    VALUE_WEIGHTED_PREFIX_MATCHING: lambda row, i, j: j > 0 and row[j - 1] == row[i],
    BEFORE_COPY: lambda row, i, j: j + 1 < i and row[j + 1] == row[i],
}


def test_every_detector_has_a_twin():
    assert set(TWINS) == set(DETECTORS.values())


@pytest.mark.parametrize("detector", TWINS, ids=lambda d: d.name)
@pytest.mark.parametrize("d_vocab", [1, 2, 5, 40])
def test_masks_equal_loops_in_plain_python(generator, detector, d_vocab):
    tokens = some_tokens(generator, d_vocab=d_vocab)
    before = tokens.clone()
    assert torch.equal(detector.entries(tokens), masked(tokens, TWINS[detector]))
    assert torch.equal(tokens, before)


@pytest.mark.parametrize("offset", [-20, -3, -2, 2, 3, 20])
def test_other_offsets_equal_loops_too(generator, offset):
    tokens = some_tokens(generator, d_vocab=3)
    twin = masked(tokens, lambda row, i, j: 0 <= j - offset < i and row[j - offset] == row[i])
    assert torch.equal(copy_entries(tokens, offset), twin)


def test_other_distances_back_equal_loops_too(generator):
    tokens = some_tokens(generator)
    for back in (2, 5, LENGTH - 1, LENGTH, LENGTH + 3):
        assert torch.equal(offset_entries(tokens, back), masked(tokens, lambda row, i, j, back=back: j == i - back))


@pytest.mark.parametrize("reduction", ["mass", "mean entry"])
def test_reductions_equal_loops_in_plain_python(generator, reduction):
    tokens, pattern = some_tokens(generator), random_pattern(generator)
    entries = copy_entries(tokens, 1)
    score, shuffled = {"mass": (mass, shuffled_mass), "mean entry": (mean_entry, shuffled_mean_entry)}[reduction]
    for b in range(len(tokens)):
        for h in range(3):
            rows, expected = [], []
            for i in range(LENGTH):
                chosen = [j for j in range(LENGTH) if entries[b, i, j]]
                if chosen:
                    total = sum(float(pattern[b, h, i, j]) for j in chosen)
                    rows.append(total if reduction == "mass" else total / len(chosen))
                    expected.append((len(chosen) if reduction == "mass" else 1) / (i + 1))
            assert float(score(pattern, entries)[b, h]) == pytest.approx(sum(rows) / len(rows), abs=1e-12)
            assert float(shuffled(pattern, entries)[b, h]) == pytest.approx(sum(expected) / len(rows), abs=1e-12)


def test_shuffled_mass_is_the_mean_over_all_permutations_of_each_row():
    """Value-weighted rows need not sum to 1: here one sums to 3."""
    tokens = torch.tensor([[4, 7, 4, 7]])
    entries = copy_entries(tokens, 1)  # (2, 1) and (3, 2)
    pattern = torch.tensor([[[[1.0, 0, 0, 0], [0.3, 0.7, 0, 0], [0.5, 2.0, 0.5, 0], [0.1, 0.2, 0.3, 0.4]]]])
    total = []
    for i, j in ((2, 1), (3, 2)):
        total.append(sum(p[j] for p in permutations(pattern[0, 0, i, : i + 1].tolist())) / math.factorial(i + 1))
    assert float(shuffled_mass(pattern, entries)) == pytest.approx(sum(total) / 2)
    assert float(shuffled_mass(pattern, entries)) == pytest.approx((3 / 3 + 1 / 4) / 2)


@pytest.mark.parametrize("bos", [None, 0])
@pytest.mark.parametrize("repeats, highest", [(2, 1.0), (3, (1 + 1 / 2) / 2), (4, (1 + 1 / 2 + 1 / 3) / 3)])
def test_a_perfect_induction_head_scores_one_and_its_mean_entry_the_stated_maximum(generator, repeats, highest, bos):
    tokens = repeated_tokens(Protocol(repeats, 7, d_vocab=30, bos=bos), 5, generator)
    entries = PREFIX_MATCHING.entries(tokens)
    assert entries.any(-1).sum(-1).tolist() == [7 * (repeats - 1)] * 5  # every query of a later copy, no other
    assert entries.sum(-1).max() == repeats - 1
    pattern = attends(entries)
    assert PREFIX_MATCHING(pattern, tokens).flatten().tolist() == pytest.approx([1] * 5)
    assert PREFIX_MATCHING_MEAN_ENTRY(pattern, tokens).flatten().tolist() == pytest.approx([highest] * 5)
    assert highest_mean_entry(entries) == pytest.approx(highest)
    for other in (DUPLICATE_TOKEN, BEFORE_COPY):
        assert other(pattern, tokens).flatten().tolist() == [0] * 5


def test_four_repeats_have_a_highest_mean_entry_of_61_percent(generator):
    tokens = repeated_tokens(Protocol(4, 25, d_vocab=64), 3, generator)
    assert round(highest_mean_entry(PREFIX_MATCHING.entries(tokens)), 2) == 0.61


def test_attending_one_of_several_copies_is_as_good_as_all_of_them(generator):
    tokens = repeated_tokens(Protocol(4, 7, d_vocab=30), 2, generator)
    latest = offset_entries(tokens, 6) & PREFIX_MATCHING.entries(tokens)
    assert PREFIX_MATCHING(attends(latest), tokens).flatten().tolist() == [1, 1]


@pytest.mark.parametrize("detector", list(DETECTORS.values()), ids=lambda d: d.name)
def test_a_head_that_does_only_one_thing_scores_one_at_it(generator, detector):
    tokens = repeated_tokens(Protocol(2, 6, d_vocab=2), 3, generator)
    entries = detector.entries(tokens)
    highest = highest_mean_entry(entries) if detector.reduction == "mean entry" else 1.0
    pattern = attends(entries)
    assert float(detector(pattern, tokens).mean()) == pytest.approx(highest)


def test_two_tokens_suffice_even_where_one_stands_twice_in_a_row():
    tokens = torch.tensor([[0, 0, 1, 0]])
    # (1, 1): the token at 1 follows the copy at 0; (3, 1) and (3, 2): they follow the copies at 0 and 1.
    assert PREFIX_MATCHING.entries(tokens)[0].nonzero().tolist() == [[1, 1], [3, 1], [3, 2]]
    assert DUPLICATE_TOKEN.entries(tokens)[0].nonzero().tolist() == [[1, 0], [3, 0], [3, 1]]
    assert BEFORE_COPY.entries(tokens)[0].nonzero().tolist() == [[3, 0]]


def test_even_attention_scores_its_shuffled_null(generator):
    tokens = some_tokens(generator)
    even = torch.ones(LENGTH, LENGTH).tril().bool().expand(6, -1, -1)
    pattern = attends(even)
    for detector in DETECTORS.values():
        entries = detector.entries(tokens)
        shuffled = detector.shuffled(pattern, entries).flatten().tolist()
        assert detector(pattern, tokens).flatten().tolist() == pytest.approx(shuffled)


def test_diagonal_attention_is_current_token_and_nothing_else(generator):
    tokens = torch.arange(LENGTH)[None]
    pattern = torch.eye(LENGTH)[None, None]
    assert float(CURRENT_TOKEN(pattern, tokens)) == 1
    assert float(PREVIOUS_TOKEN(pattern, tokens)) == 0
    assert float(FIRST_TOKEN(pattern, tokens)) == 0  # although A[0, 0] = 1


def test_a_sequence_without_eligible_query_has_no_score():
    tokens = torch.tensor([[1, 2, 3, 4], [1, 2, 1, 2]])
    pattern = attends(torch.ones(4, 4).tril().bool().expand(2, -1, -1))
    score = PREFIX_MATCHING(pattern, tokens)[:, 0]
    assert math.isnan(score[0])
    assert float(score[1]) == pytest.approx((1 / 3 + 1 / 4) / 2)


def test_value_weighting_hides_a_resting_place_with_a_small_value(generator):
    """Half the attention rests on BOS, whose value is 1000 times smaller: .5 becomes 1 / 1.001."""
    tokens = repeated_tokens(Protocol(2, 5, d_vocab=20, bos=0), 4, generator)
    pattern = (attends(copy_entries(tokens, 1)) + attends(first_entries(tokens))) / 2
    norms = torch.where(tokens == 0, 0.001, 1.0).double()[..., None]
    weighted = value_weighted(pattern, norms)
    assert PREFIX_MATCHING(pattern, tokens).flatten().tolist() == pytest.approx([0.5] * 4)
    assert VALUE_WEIGHTED_PREFIX_MATCHING(weighted, tokens).flatten().tolist() == pytest.approx([1 / 1.001] * 4)


def test_value_weighted_rows_are_shares_of_attention_times_norm(generator):
    pattern = random_pattern(generator, n=2)
    norms = torch.rand(2, LENGTH, 3, generator=generator, dtype=torch.float64)
    weighted = value_weighted(pattern, norms)
    for i in range(LENGTH):
        total = sum(float(pattern[1, 2, i, j] * norms[1, j, 2]) for j in range(LENGTH))
        assert float(weighted[1, 2, i, 3]) == pytest.approx(float(pattern[1, 2, i, 3] * norms[1, 3, 2]) / total)
    assert float(value_weighted(pattern, torch.zeros_like(norms)).abs().max()) == 0


def test_entropy_runs_from_zero_to_that_of_even_attention(generator):
    even = attends(torch.ones(LENGTH, LENGTH).tril().bool()[None])
    mean_log = sum(math.log(i + 1) for i in range(1, LENGTH)) / (LENGTH - 1)
    assert float(attention_entropy(even)) == pytest.approx(mean_log)
    assert float(attention_entropy(torch.eye(LENGTH)[None, None])) == 0
    halves = attends(
        offset_entries(torch.zeros(1, LENGTH).long(), 0) | offset_entries(torch.zeros(1, LENGTH).long(), 1)
    )
    assert float(attention_entropy(halves)) == pytest.approx(math.log(2))
