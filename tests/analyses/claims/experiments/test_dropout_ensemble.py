"""Averages over all masks against sums written out, dropout's scale, and what few trainings say."""

import itertools

import pytest
import torch

from analyses.claims.experiments import dropout_ensemble
from analyses.claims.experiments.dropout_ensemble import distance, ensemble, every_mask, scale_of_means
from tests.claims_run import not_holding
from toy_models.mlp import MLP
from toy_models.vector_config import MLPConfig


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_exact_claims_hold_with_another_seed():
    assert not_holding([c for c in dropout_ensemble.CLAIMS if not c.trained], seeds=(5,)) == []


def test_every_mask_is_there_once_and_does_what_zeroing_units_by_hand_does():
    model = MLP(MLPConfig(d_in=3, widths=(4, 4), d_out=2, dropout=0.5), seeded()).double()
    x = torch.randn(1, 3, generator=seeded(1), dtype=torch.float64)
    found = every_mask(model, x)
    first, second = (block.linear for block in model.blocks)
    by_hand = []
    with torch.no_grad():
        for bits in itertools.product((0.0, 1.0), repeat=8):
            masks = 2 * torch.tensor(bits, dtype=torch.float64)
            h = torch.relu(first(x)) * masks[:4]
            by_hand.append(model.classify(torch.relu(second(h)) * masks[4:])[0])
    rows = sorted(found.tolist())
    assert torch.allclose(torch.tensor(rows), torch.tensor(sorted(torch.stack(by_hand).tolist())))
    assert len(rows) == 256


def test_dropout_without_its_scale_would_halve_the_mean():
    found = scale_of_means(7, "cpu", 1.0)
    assert found["scaled"] < 0.005
    assert found["not scaled"] == pytest.approx(0.5, abs=0.005)
    assert found["in evaluation"] == 0


def test_distance_of_predictions_is_half_of_what_moves():
    p, q = torch.tensor([[0.7, 0.3], [0.5, 0.5]]), torch.tensor([[0.2, 0.8], [0.5, 0.5]])
    assert distance(p, q) == pytest.approx(0.25)


def test_averages_over_more_masks_come_nearer_to_the_average():
    found = ensemble(0, "cpu", 0.02, 0.5)
    gaps = found["distance to average"]
    assert gaps[0] > gaps[3] > gaps[-1]
    assert gaps[-1] < 0.2 * gaps[0]
