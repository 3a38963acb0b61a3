"""Measures of the autoencoders' hidden units on one whose weights are set by hand, and a short training."""

import pytest
import torch

from analyses.claims.experiments.dropout_few_digits import cost_of_dropout, few_digits
from analyses.claims.experiments.dropout_units import autoencoder, measured
from analyses.claims.experiments.vector_training import accuracy, fit, scaled, split_digits
from toy_models.autoencoder import DropoutAutoencoder
from toy_models.mlp import MLP
from toy_models.vector_config import DropoutAutoencoderConfig, MLPConfig


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def copying(d=4, copies=2):
    """Every input has units of its own, each of which carries an equal part of it."""
    model = DropoutAutoencoder(DropoutAutoencoderConfig(d_in=d, d_hidden=d * copies), seeded())
    with torch.no_grad():
        model.encode.weight.copy_(torch.eye(d).repeat(copies, 1))
        model.decode.weight.copy_(torch.eye(d).repeat(1, copies) / copies)
    return model.eval()


def test_an_autoencoder_that_copies_has_no_error_and_nothing_to_cancel():
    x = torch.rand(50, 4, generator=seeded(1)) + 0.1
    found = measured(copying(), x, 0)
    assert found["error"] == pytest.approx(0, abs=1e-12)
    assert found["cancelled"] == pytest.approx(0, abs=1e-6)
    assert found["active share"] == 1
    assert found["mean activation"] == pytest.approx(float(x.mean()), rel=1e-5)
    assert found["damage"] > 0


def test_of_eight_units_two_are_deleted_and_cost_what_they_carry():
    x = torch.ones(3, 4)
    found = measured(copying(), x, 0)
    apart, together = 2 * 0.25 / 4, 1 / 4  # two halves of different inputs are lost, or both of one
    assert apart <= found["damage"] <= together


def test_dropout_in_training_lessens_cancelling_and_damage():
    plain, dropped = (autoencoder(0, "cpu", 0.15, dropout=rate) for rate in (0.0, 0.5))
    assert dropped["cancelled"] < plain["cancelled"]
    assert dropped["damage"] < plain["damage"]


def test_a_linear_net_learns_few_digits_and_the_seed_decides_everything():
    training, test = split_digits(3, 200, "cpu")
    assert sorted(set(training.labels.tolist())) == list(range(10))
    assert len(training) + len(test) == 1797

    def trained(seed):
        model = MLP(MLPConfig(widths=(16,), dropout=0.5), seeded())
        return fit(model, training, steps=60, lr=0.1, seed=seed, momentum=0.9)

    one, same, other = (trained(seed) for seed in (0, 0, 1))
    model, before = MLP(MLPConfig(widths=(16,), dropout=0.5), seeded()), torch.random.get_rng_state()
    fit(model, training, steps=2, lr=0.1, seed=0)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert accuracy(one, test) > 0.5
    assert torch.equal(one.classify.weight, same.classify.weight)
    assert not torch.equal(one.classify.weight, other.classify.weight)


def test_training_that_diverges_ends_where_it_is():
    training, test = split_digits(3, 200, "cpu")
    seen = []
    model = fit(MLP(MLPConfig(), seeded()), training, steps=50, lr=1e6, seed=0, after=seen.append)
    assert len(seen) < 50
    assert 0 <= accuracy(model, test) <= 0.2


def test_weight_decay_alone_shrinks_weights_by_its_share_each_step():
    training, _ = split_digits(3, 200, "cpu")
    model = MLP(MLPConfig(widths=()), seeded())
    before = model.classify.weight.detach().clone()

    def forget():
        for parameter in model.parameters():
            parameter.grad.zero_()

    fit(model, training, steps=3, lr=0.1, seed=0, weight_decay=0.5, before_update=forget)
    assert torch.allclose(model.classify.weight, before * 0.95**3)


def test_the_cost_of_dropout_is_the_difference_of_what_it_is_made_of():
    found = cost_of_dropout(0, "cpu", 0.01, 8)
    assert found["cost"] == pytest.approx(found["without"] - found["with"])
    assert found["without"] == few_digits(0, "cpu", 0.01, width=8, splits=4)["accuracy"]


def test_a_budget_scales_steps_and_leaves_one():
    assert [scaled(440, b) for b in (1.0, 0.5, 1e-6)] == [440, 220, 1]
