"""What counts as learnt, at its boundaries; targets survive run.json."""

import json

import pytest

from tests.small_runs import TASK
from toy_models.tasks import Bound, LossEstimate, make_task
from toy_models.training import EMERGED, Target, measure_target

TARGET = Target(chance=4.0, optimum=LossEstimate(1.0, 0.1, 5))


def test_the_gap_is_zero_at_chance_and_one_at_the_optimum():
    assert [TARGET.gap_closed(loss) for loss in (4.0, 2.5, 1.0)] == [0.0, 0.5, 1.0]


def test_emerged_means_that_nine_tenths_of_the_gap_are_closed():
    assert EMERGED == 0.9
    assert TARGET.is_emerged(1.299)
    assert not TARGET.is_emerged(1.301)


def test_the_margin_is_in_nats_over_the_optimum():
    assert TARGET.is_within(0.25, 1.25)
    assert not TARGET.is_within(0.25, 1.26)
    assert not TARGET.is_within(None, 1.0)


def test_without_an_optimum_nothing_emerges_and_nothing_stops():
    unknown = Target(chance=4.0, optimum=None)
    assert unknown.gap_closed(0.1) is None
    assert not unknown.is_emerged(0.0)
    assert not unknown.is_within(10.0, 0.0)


@pytest.mark.parametrize(
    "target",
    [
        TARGET,
        Target(4.0, None),
        Target(4.0, LossEstimate(1.0, 0.1, 5), Bound(None, LossEstimate(2.0, 0.2, 5), "a reader")),
        Target(4.0, None, Bound(LossEstimate(1.5, 0.2, 5), LossEstimate(2.0, 0.2, 5), "a reader")),
    ],
)
def test_targets_come_back_from_json(target):
    assert Target.from_dict(json.loads(json.dumps(target.to_dict()))) == target


def test_a_measured_target_is_the_tasks_own_and_the_same_each_time():
    task = make_task(TASK)
    target = measure_target(task, n_sequences=64, n_order_free=8)
    assert target == measure_target(task, n_sequences=64, n_order_free=8)
    assert target.chance == task.chance_loss
    assert target.optimum is not None
    assert target.order_free is not None
    assert target.optimum.n == 64
    assert 0 < target.optimum.mean < target.order_free.upper.mean < target.chance
    assert measure_target(task, n_sequences=64, n_order_free=0).order_free is None
