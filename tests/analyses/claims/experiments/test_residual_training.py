"""Training of residual nets: what steps do, what is looked at, and which way a short training goes."""

import pytest
import torch
import torch.nn.functional as F

from analyses.claims.experiments.residual_training import BATCH, Watch, fit, halves, make_net, steps_to, train_net


@pytest.fixture(scope="module")
def train():
    return halves(0, "cpu")[0]


def small(**options):
    return make_net(0, "cpu", depth=8, width=2, **options)


def fitted(train, steps, **options):
    net = small()
    losses = fit(net, train, steps, 0, **options)
    return dict(net.named_parameters()), losses


def test_the_first_step_is_that_of_gradient_descent_with_decay(train):
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(1000))[:BATCH]
    net = small()
    loss = F.cross_entropy(net.train()(train.images[order]), train.labels[order])
    loss.backward()
    after, losses = fitted(train, 1, rate=0.1, decay=0.01)
    assert losses == [pytest.approx(float(loss.detach()), rel=1e-5)]
    for name, before in net.named_parameters():
        assert torch.allclose(after[name], before - 0.1 * (before.grad + 0.01 * before), atol=1e-6), name


def test_decay_of_weights_alone_spares_gamma_and_biases(train):
    (all_of, _), (spared, _) = (fitted(train, 1, decay=0.5, decay_norm=norm) for norm in (True, False))
    gamma, filters = "blocks.0.layers.1.norm.weight", "blocks.0.layers.1.conv.weight"
    assert torch.allclose(spared[gamma] - all_of[gamma], torch.full_like(spared[gamma], 0.1 * 0.5), atol=1e-6)
    assert torch.equal(spared[filters], all_of[filters])


def test_a_falling_rate_has_halved_by_the_second_of_two_steps(train):
    one, constant, falling = (fitted(train, n, falling=falls)[0] for n, falls in ((1, True), (2, False), (2, True)))
    for name, at in one.items():
        assert torch.allclose(at - constant[name], 2 * (at - falling[name]), atol=1e-5), name


def test_a_net_is_looked_at_after_a_quarter_of_the_steps_and_at_the_end(train):
    watch = Watch(train, 10, inside=False)
    fit(small(), train, 10, 0, watch=watch)
    row = watch.row()
    assert watch.looks[0] == 0
    assert row["error 1x"] == row["training error"][row["step"].index(2.0)]
    assert row["error 4x"] == row["training error"][-1]
    assert row["step"][-1] == 10
    late = [loss for step, loss in zip(row["step"], row["training loss"], strict=True) if 1 <= step <= 2]
    assert row["loss 1x"] == pytest.approx(sum(late) / 2)


def test_steps_to_a_loss_are_counted_at_the_end_of_a_window_whose_mean_is_below():
    assert steps_to([2.0, 0.6, 0.3, 0.2, 0.1], window=2) == 3
    assert steps_to([2.0, 0.9, 0.2, 2.0], window=2) == 4, "never: all of them"


def test_halves_of_a_seed_are_the_same_for_all_arms_and_share_no_image(train):
    again, test = halves(0, "cpu")
    assert torch.equal(again.images, train.images)
    assert len(train) + len(test) == 1797
    pixels = {tuple(image.flatten().tolist()) for image in train.images}
    assert not pixels & {tuple(image.flatten().tolist()) for image in test.images}


def test_a_deep_residual_net_learns_sooner_than_a_plain_one():
    plain, residual = (train_net(0, "cpu", 0.1, residual=residual, width=4) for residual in (False, True))
    assert residual["error 4x"] < plain["error 4x"] - 3
    assert len(plain["step"]) == len(plain["training error"])
