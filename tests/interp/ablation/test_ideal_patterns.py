"""Textbook attention patterns: against loops over every query, and on sequences where the answer can be seen."""

import pytest
import torch

from interp.ablation.ideal_patterns import (
    CURRENT_TOKEN,
    FIRST_TOKEN,
    INDUCTION,
    LONG_INDUCTION,
    PREVIOUS_TOKEN,
    back,
    induction,
    match_entries,
)
from interp.errors import InputError
from interp.heads.detectors import PREFIX_MATCHING
from interp.heads.matching import copy_entries
from toy_models import handmade


def looped(tokens, sources_of):
    """The pattern that is even over `sources_of(row, i)`, or on position 0."""
    n, length = tokens.shape
    pattern = torch.zeros(n, length, length, dtype=torch.float64)
    for b in range(n):
        for i in range(length):
            sources = [j for j in sources_of(tokens[b].tolist(), i) if 0 <= j <= i] or [0]
            for j in sources:
                pattern[b, i, j] += 1 / len(sources)
    return pattern


def after_longest(row, i, longest, offset=1):
    """Positions after the longest match of up to `longest` tokens that has a source at or before the query."""
    for length in range(longest, 0, -1):
        found = [
            m + offset
            for m in range(length - 1, i)
            if row[m - length + 1 : m + 1] == row[i - length + 1 : i + 1] and m + offset <= i
        ]
        if found:
            return found
    return []


@pytest.mark.parametrize(
    "pattern, sources",
    [
        (PREVIOUS_TOKEN, lambda row, i: [i - 1]),
        (PREVIOUS_TOKEN.wrong, lambda row, i: [i - 2]),
        (CURRENT_TOKEN, lambda row, i: [i]),
        (CURRENT_TOKEN.wrong, lambda row, i: [i - 1]),
        (back(4), lambda row, i: [i - 4]),
        (FIRST_TOKEN, lambda row, i: [0]),
        (FIRST_TOKEN.wrong, lambda row, i: [1]),
        (INDUCTION, lambda row, i: after_longest(row, i, 1)),
        (INDUCTION.wrong, lambda row, i: after_longest(row, i, 1, 2)),
        (LONG_INDUCTION, lambda row, i: after_longest(row, i, 2)),
        (LONG_INDUCTION.wrong, lambda row, i: after_longest(row, i, 2, 2)),
        (induction(4), lambda row, i: after_longest(row, i, 4)),
    ],
)
def test_every_query_attends_evenly_to_its_sources_or_to_position_0(generator, pattern, sources):
    tokens = torch.randint(3, (4, 12), generator=generator)
    assert torch.allclose(pattern(tokens), looped(tokens, sources), atol=1e-15)


def test_patterns_are_causal_and_rows_sum_to_one_at_every_length(generator):
    for length in (1, 2, 3, 9):
        tokens = torch.randint(2, (3, length), generator=generator)
        for ideal in (PREVIOUS_TOKEN, CURRENT_TOKEN, FIRST_TOKEN, INDUCTION, LONG_INDUCTION, back(20), induction(5)):
            for each in (ideal(tokens), ideal.wrong(tokens)):
                assert torch.equal(each, each.tril())
                assert torch.allclose(each.sum(-1), torch.ones(3, length, dtype=torch.float64))


def test_a_longer_match_tells_two_copies_apart():
    tokens = torch.tensor([[0, 1, 2, 3, 4, 2, 5, 1, 2]])  # [1][2][3] .. [4][2][5] .. [1][2]
    assert INDUCTION(tokens)[0, 8].nonzero().flatten().tolist() == [3, 6]
    assert LONG_INDUCTION(tokens)[0, 8].nonzero().flatten().tolist() == [3]
    assert LONG_INDUCTION(tokens)[0, 7].nonzero().flatten().tolist() == [2]  # only [1] matches
    assert LONG_INDUCTION(tokens)[0, 6].nonzero().flatten().tolist() == [0]  # nothing does


def test_matches_of_one_token_are_copies(generator):
    tokens = torch.randint(3, (4, 12), generator=generator)
    for offset in (0, 1, 2):
        assert torch.equal(match_entries(tokens, 1, offset), copy_entries(tokens, offset))


def test_a_perfect_induction_pattern_has_a_prefix_matching_score_of_one():
    tokens = handmade.make("induction_k").example_tokens
    assert PREFIX_MATCHING(INDUCTION(tokens)[:, None], tokens).flatten().tolist() == pytest.approx([1] * len(tokens))
    assert float(PREFIX_MATCHING(INDUCTION.wrong(tokens)[:, None], tokens).max()) < 0.1


def test_the_wrong_twin_of_the_wrong_twin_is_the_pattern_again(generator):
    tokens = torch.randint(3, (4, 12), generator=generator)
    for ideal in (PREVIOUS_TOKEN, FIRST_TOKEN, LONG_INDUCTION):
        assert torch.equal(ideal.wrong.wrong(tokens), ideal(tokens))
        assert not torch.equal(ideal.wrong(tokens), ideal(tokens))


def test_patterns_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="0 or more, got -1"):
        back(-1)
    with pytest.raises(InputError, match="longest=0"):
        induction(0)
