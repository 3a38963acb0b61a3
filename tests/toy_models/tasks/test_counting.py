"""The fitted counting reader on samples whose best reader is known."""

import math

import pytest
import torch

from toy_models.tasks.counting import Counted, count_features, earlier_counts, fit_reader, reader_losses


def sample_with_known_best():
    """Two positions, five tokens, two of them with feature 1; the token that came has it in 9 and in 4 of 10 cases."""
    features = torch.tensor([0, 1, 0, 1, 0]).expand(10, 2, 5)
    tokens = torch.zeros(10, 2, dtype=torch.int64)
    tokens[:9, 0] = 1
    tokens[:4, 1] = 3
    return count_features(features, tokens, torch.ones(10, 2, dtype=torch.bool), n_features=4)


def entropy(share, n_with):
    """Loss of the best reader of that sample at one position: the feature's share, spread over its tokens."""
    return -share * math.log(share / n_with) - (1 - share) * math.log((1 - share) / (5 - n_with))


def test_earlier_counts_leave_out_the_present_token():
    counts = earlier_counts(torch.tensor([[2, 0, 2, 2]]), 3)
    assert counts.tolist() == [[[0, 0, 0], [0, 0, 1], [1, 0, 1], [1, 0, 2]]]


def test_features_are_counted_over_the_vocabulary():
    counted = sample_with_known_best()
    assert counted.tokens_with[0, 0].tolist() == [3, 2, 0, 0]
    assert counted.target[:, 0].tolist() == [1] * 9 + [0]


def test_the_fitted_reader_gives_every_feature_its_share():
    counted = sample_with_known_best()
    theta = fit_reader(counted)
    weight = counted.tokens_with[0] * theta.exp()
    assert (weight[:, 1] / weight.sum(dim=1)).tolist() == pytest.approx([0.9, 0.4], abs=2e-3)
    losses = reader_losses(theta, counted).mean(dim=0).tolist()
    assert losses == pytest.approx([entropy(0.9, 2), entropy(0.4, 2)], abs=1e-4)


def test_positions_that_are_not_predictable_do_not_count_in_the_fit():
    counted = sample_with_known_best()
    mask = counted.predictable.clone()
    mask[9, 0] = False
    theta = fit_reader(Counted(counted.tokens_with, counted.target, mask))
    weight = counted.tokens_with[0] * theta.exp()
    assert weight[0, 1] / weight[0].sum() > 0.97


def test_a_position_without_data_has_the_logits_that_the_others_share():
    counted = sample_with_known_best()
    mask = counted.predictable.clone()
    mask[:, 1] = False
    theta = fit_reader(Counted(counted.tokens_with, counted.target, mask))
    weight = counted.tokens_with[0] * theta.exp()
    assert weight[1, 1] / weight[1].sum() == pytest.approx(0.9, abs=0.01)


def test_reader_losses_are_those_of_the_softmax_over_tokens():
    counted = sample_with_known_best()
    theta = torch.tensor([[0.0, 1000.0, 7.0, 0.0], [-2.0, 1.0, 9.0, 0.0]], dtype=torch.float64)
    losses = reader_losses(theta, counted)
    assert losses[0].tolist() == pytest.approx([math.log(2), math.log(3 * math.exp(-3) + 2)])
    assert losses[9].tolist() == pytest.approx([1000 + math.log(2), 3 + math.log(3 * math.exp(-3) + 2)])
