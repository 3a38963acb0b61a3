"""Weight decay: the identities hold, and their parts are known updates."""

import pytest
import torch

from analyses.claims.experiments import decay_before_batch_norm, weight_decay
from analyses.claims.experiments.decay_before_batch_norm import conv_net, descended, filters
from analyses.claims.experiments.weight_decay import chosen, classifier, regressed, shrunk
from tests.claims_run import not_holding


def test_the_identities_hold():
    assert not_holding([c for c in weight_decay.CLAIMS if not c.trained]) == []
    assert not_holding(decay_before_batch_norm.CLAIMS) == []


def test_a_loss_without_slope_leaves_the_decay_alone():
    start, end = shrunk(0, chosen("sgd", 0.0, True, 0.5, 0.1), 3)
    assert torch.allclose(end, start * 0.95**3, atol=1e-14)


def test_decay_ends_at_a_shorter_solution_of_the_regression():
    with_decay, without = (regressed(0, chosen("sgd", 0.0, True, decay), 200) for decay in (0.5, 0.0))
    assert float(with_decay.norm()) < 0.9 * float(without.norm())


def test_filters_that_decay_shrink_as_much_as_their_steps_grow():
    decayed, grown = (descended(0, "batch", 7, how) for how in ("decay", "growing step"))
    shrink = (1 - 0.05 * 0.5) ** 7
    for small, large in zip(filters(decayed), filters(grown), strict=True):
        assert torch.allclose(small, shrink * large, atol=1e-10)
    assert not torch.allclose(filters(decayed)[0], filters(conv_net(0, "batch"))[0], atol=1e-2)


def test_decaying_all_shrinks_the_gains_that_are_spared_otherwise():
    rows = [classifier(0, "cpu", 0.2, decay=0.02, decay_all=decay_all) for decay_all in (False, True)]
    assert rows[1]["gain"] < 0.9 * rows[0]["gain"]
    assert rows[0]["gain"] == pytest.approx(1, abs=0.2)
