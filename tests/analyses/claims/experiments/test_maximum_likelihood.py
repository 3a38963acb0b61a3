"""Maximum likelihood by cross-entropy: slopes against autograd, ends against closed forms."""

import pytest
import torch
import torch.nn.functional as F

from analyses.claims.experiments.maximum_likelihood import (
    CLAIMS,
    cross_entropy_slope,
    squared_error_slope,
    tabular,
    trained_table,
)
from tests.claims_run import not_holding


def test_the_identity_holds():
    assert not_holding(CLAIMS) == []


def test_slopes_are_the_gradients_of_the_mean_losses():
    labels = torch.tensor([0, 1, 1, 2])
    hard = F.one_hot(labels, 3).double()
    logits = torch.tensor([[0.3, -1.0, 2.0]], dtype=torch.float64, requires_grad=True)
    (crossed,) = torch.autograd.grad(F.cross_entropy(logits.expand(4, 3), labels), logits)
    (squared,) = torch.autograd.grad((logits - hard).square().sum(1).mean() / 2, logits)
    frequencies = hard.mean(0, keepdim=True)
    assert torch.allclose(cross_entropy_slope(logits.detach(), frequencies), crossed)
    assert torch.allclose(squared_error_slope(logits.detach(), frequencies), squared)


def test_squared_error_ends_with_the_frequencies_as_logits():
    frequencies = torch.tensor([[0.7, 0.2, 0.1]], dtype=torch.float64)
    assert torch.allclose(trained_table(frequencies, squared_error_slope, 5), frequencies)
    ended = trained_table(frequencies, cross_entropy_slope, 2000).softmax(-1)
    assert torch.allclose(ended, frequencies, atol=1e-9)


def test_the_table_is_trained_on_samples_and_ends_at_their_frequencies_not_at_the_truth():
    row = tabular(0, "cpu", 1.0)
    assert row["cross-entropy"] < 1e-9 < 1e-3 < row["truth"] < 0.15
    assert row["squared error"] == pytest.approx(0.36, abs=0.2)
