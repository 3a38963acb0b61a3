"""Minibatch gradients: the claim holds, and each arm's control is wrong for the reason it is said to be."""

import pytest
import torch
import torch.nn.functional as F

from analyses.claims.experiments.gradient_noise import CLAIMS, a_net, noise_by_batch
from interp.units import flat_gradient, minibatch_gradients
from tests.claims_run import not_holding


def test_the_claim_holds():
    assert not_holding(CLAIMS, budget=0.3) == []


def test_a_partition_averages_to_the_full_gradient_and_so_tests_nothing():
    net, images, labels = a_net(0, "none")
    order = labels.argsort().view(10, 100)  # batches of one class or two
    parts = minibatch_gradients(net, images, labels, F.cross_entropy, order)
    assert torch.allclose(parts.mean(0), flat_gradient(net, images, labels, F.cross_entropy), atol=1e-12)


def test_copies_of_one_image_vary_as_single_images_do():
    row = noise_by_batch(0, "cpu", 0.1)
    single, copies = row["variance, independent"][0], row["variance, copies"]
    assert copies == pytest.approx([single] * 4, rel=0.5)
    assert row["slope off, copies"] == pytest.approx(1, abs=0.2)
