"""What is read off residual nets, where it is known."""

import pytest
import torch
import torch.nn.functional as F

from analyses.claims.experiments.residual_measures import (
    error_and_loss,
    first_crossing,
    geometric_mean,
    gradients,
    responses,
    settling_steps,
)
from analyses.claims.experiments.residual_signals import untrained
from analyses.claims.experiments.residual_training import halves, make_net
from toy_models.layers.population import with_population_statistics


@pytest.fixture(scope="module")
def train():
    return halves(0, "cpu")[0].take(torch.arange(128))


def test_a_crossing_lies_on_the_line_between_two_steps():
    assert first_crossing([0, 10, 20], [0.0, 0.5, 1.0], 0.8) == pytest.approx(16)
    assert first_crossing([0, 10, 20], [0.0, 0.9, 0.2], 0.45) == pytest.approx(5), "the first one"
    assert first_crossing([0, 10], [0.0, 0.5], 0.8) == 10, "never: the last step"


def test_a_block_settles_where_its_output_has_come_most_of_its_way():
    first, last = torch.linalg.qr(torch.randn(20, 5, generator=torch.Generator().manual_seed(0)))[0].split([2, 3], 1)
    steps = [0, 10, 20, 30]
    (late,) = settling_steps(steps, [[first], [first], [first], [last]])
    (soon,) = settling_steps(steps, [[first], [last], [last], [last]])
    (never_moved,) = settling_steps(steps, [[last]] * 4)
    assert late == pytest.approx(28)
    assert soon == pytest.approx(8)
    assert never_moved == 1, "nothing to settle"


def test_gradients_by_block_are_those_of_backward(train):
    net = make_net(0, "cpu", depth=8, width=2)
    half = train.take(torch.arange(64).repeat(2))
    row = gradients(net, half)
    F.cross_entropy(net.train()(half.images[:64]), half.labels[:64]).backward()
    norms = [sum(float(layer.conv.weight.grad.square().sum()) for layer in block.layers) ** 0.5 for block in net.blocks]
    assert row["gradient by block"] == pytest.approx(norms, rel=1e-5)
    assert row["first over last gradient"] == pytest.approx(norms[0] / norms[-1], rel=1e-5)


def test_the_std_of_responses_after_batchnorm_is_gamma(train):
    net = make_net(0, "cpu", depth=14, width=2)
    before = responses(net, train)
    with torch.no_grad():
        for block in net.blocks:
            block.layers[1].norm.weight.mul_(0.25)
    after = responses(net, train)
    assert before["response std"] == pytest.approx(1, abs=0.02)
    assert after["response std"] == pytest.approx(0.25, abs=0.005)
    assert (before["gamma"], after["gamma"]) == (1, 0.25)
    assert after["share"] < 0.5 * before["share"]


def test_without_norm_half_the_weights_leave_a_half_for_each_convolution_on_the_way():
    full, half = (untrained(0, "cpu", 1.0, norm="none", init_scale=scale) for scale in (1.0, 0.5))
    assert half["output std kept"] == pytest.approx(full["output std kept"] * 0.5**16, rel=1e-4)
    assert half["first gradient"] < 1e-3 * full["first gradient"]


def test_with_batchnorm_the_scale_of_the_weights_changes_no_signal_and_doubles_the_gradient():
    full, half = (untrained(0, "cpu", 1.0, init_scale=scale) for scale in (1.0, 0.5))
    assert half["output std kept"] == pytest.approx(full["output std kept"], rel=0.02)
    assert half["first over last gradient"] == pytest.approx(full["first over last gradient"], rel=0.1)


def test_errors_are_percentages_of_images_in_a_wrong_class(train):
    settled = with_population_statistics(make_net(0, "cpu", depth=8, width=2), train.images)
    error, loss = error_and_loss(settled, train)
    with torch.no_grad():
        logits = settled(train.images)
    assert error == pytest.approx(
        100 * sum(int(a != b) for a, b in zip(logits.argmax(1), train.labels, strict=True)) / 128
    )
    assert loss == pytest.approx(float(-logits.log_softmax(1)[torch.arange(128), train.labels].mean()), rel=1e-5)


def test_the_geometric_mean_of_1_and_4_is_2():
    assert geometric_mean([1.0, 4.0]) == pytest.approx(2)
