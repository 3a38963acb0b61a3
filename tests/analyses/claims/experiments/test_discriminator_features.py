"""A trunk as classifier and as discriminator: what is probed, how it is judged, and that it learns to tell fakes."""

import pytest
import torch
import torch.nn.functional as F

from analyses.claims.experiments.digit_classifiers import halves
from analyses.claims.experiments.discriminator_features import (
    features,
    new_trunk,
    probe_scores,
    probed,
    realness,
    train_against_generator,
)


def test_features_are_what_the_last_linear_map_reads():
    net, images = new_trunk(0).eval(), halves(0).held_out.inputs[:5]
    found = features(net, images)
    assert torch.allclose(net.classify(found), net(images), atol=1e-6)
    assert found.shape == (5, 32 * 2 * 2)


def test_the_logit_of_being_real_is_that_of_two_classes():
    net, images = new_trunk(0).eval(), halves(0).held_out.inputs[:5]
    assert torch.allclose(realness(net, images).sigmoid(), net(images)[:, :2].softmax(1)[:, 0], atol=1e-6)


def test_a_discriminator_learns_to_tell_digits_from_the_first_fakes():
    net = new_trunk(0)
    before = features(net.eval(), halves(0).held_out.inputs)
    row = train_against_generator(net, 0, "cpu", 30)
    assert row["told apart"] > 0.8
    fakes = torch.full((50, 1, 8, 8), 0.5)
    real = realness(net.eval(), halves(0).held_out.inputs).mean()
    assert float(real.detach()) > float(realness(net, fakes).mean().detach())
    assert not torch.allclose(before, features(net, halves(0).held_out.inputs), atol=1e-2)


def test_a_probe_reads_what_is_there_and_nothing_else():
    labels = halves(0).held_out.targets
    told = probe_scores(F.one_hot(labels, 10).float(), labels, 0)
    assert told["accuracy"] == 1
    assert told["shuffled"] == pytest.approx(0.1, abs=0.1)
    noise = torch.randn(len(labels), 10, generator=torch.Generator().manual_seed(0))
    assert probe_scores(noise, labels, 0)["accuracy"] == pytest.approx(0.1, abs=0.04)


def test_pixels_are_probed_as_they_are():
    held_out = halves(1).held_out
    assert probed(1, "cpu", 1.0, trunk="pixels") == probe_scores(held_out.inputs.flatten(1), held_out.targets, 1)
