"""The contrast at keys picked at random, in closed form, beside keys that are picked at random."""

import pytest
import torch

from interp.errors import InputError
from interp.paths.contrast_null import random_targets_deviation

LENGTH = 7


def random_scores(n):
    generator = torch.Generator().manual_seed(5)
    scores = torch.randn(n, LENGTH, LENGTH, generator=generator, dtype=torch.float64) * torch.arange(1.0, 8.0)[:, None]
    return scores.masked_fill(~torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril(), -torch.inf)


def some_targets(n):
    """One key for most queries, three for some, none for others; the last sequence has fewer."""
    targets = torch.zeros(n, LENGTH, LENGTH, dtype=torch.bool)
    targets[:, 2:6, 1] = True
    targets[0, 5, :3] = True
    targets[-1, 3] = False
    return targets


def picked_contrast(scores, targets, generator):
    """The slow twin: each query's targets moved to keys picked at random, then the contrast."""
    of_sequences = []
    for sequence, mask in zip(scores, targets, strict=True):
        of_queries = []
        for dest in range(LENGTH):
            k, n = int(mask[dest, : dest + 1].sum()), dest + 1
            if 0 < k < n:
                order = torch.randperm(n, generator=generator)
                of_queries.append(sequence[dest, order[:k]].mean() - sequence[dest, order[k:]].mean())
        of_sequences.append(torch.stack(of_queries).mean())
    return torch.stack(of_sequences).mean()


def test_the_deviation_is_that_of_keys_picked_at_random_and_their_mean_is_0():
    scores, targets, generator = random_scores(2), some_targets(2), torch.Generator().manual_seed(1)
    draws = torch.stack([picked_contrast(scores, targets, generator) for _ in range(3000)])
    deviation = random_targets_deviation(scores, targets)
    assert float(draws.std()) == pytest.approx(deviation, rel=0.05)
    assert abs(float(draws.mean())) < 4 * deviation / 3000**0.5


def test_two_keys_one_of_which_is_picked_differ_by_their_difference():
    scores = torch.tensor([[[0.0, -torch.inf], [3.0, 1.0]]])
    targets = torch.tensor([[[False, False], [True, False]]])
    assert random_targets_deviation(scores, targets) == pytest.approx(2.0)


def test_keys_of_equal_score_leave_nothing_to_chance():
    assert random_targets_deviation(torch.ones(1, LENGTH, LENGTH), some_targets(1)) == 0


@pytest.mark.parametrize("diagonal", [False, True])
def test_targets_without_another_key_are_refused(diagonal):
    targets = torch.zeros(1, LENGTH, LENGTH, dtype=torch.bool)
    targets[0, 0, 0] = diagonal
    with pytest.raises(InputError, match="no query has a target and another allowed key"):
        random_targets_deviation(torch.zeros(1, LENGTH, LENGTH), targets)
