"""Trainings are known by what their numbers depend on, and wanted once however many claims want them."""

import pytest
import torch

from analyses.claims.arms import Task, arm_digest, check_arms, tasks_of, unique
from analyses.claims.claim import Arm
from interp.errors import InputError
from tests.analyses.claims.fakes import claim, noisy, steady

ARM = Arm(steady, {"shift": 1.0})


def task(arm=ARM, seed=0, budget=1.0, device="cpu") -> Task:
    return Task(arm, seed, budget, device, "whoever")


def test_the_same_training_has_the_same_key_whoever_wants_it():
    assert task().key == Task(Arm(steady, {"shift": 1.0}), 0, 1.0, "cpu", "someone else").key


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"budget": 0.5},
        {"device": "cuda:0"},
        {"arm": Arm(steady, {"shift": 2.0})},
        {"arm": Arm(noisy, {"shift": 1.0})},
    ],
)
def test_another_seed_budget_device_config_or_function_has_another_key(other):
    assert task(**other).key != task().key


def test_another_torch_has_another_key(monkeypatch):
    before = task().key
    monkeypatch.setattr(torch, "__version__", "1.2.3")
    assert task().key != before


def test_the_order_of_a_config_does_not_matter():
    assert arm_digest(Arm(steady, {"shift": 1.0, "log": ""})) == arm_digest(Arm(steady, {"log": "", "shift": 1.0}))


def test_an_arm_of_two_claims_is_trained_once():
    claims = (claim("one"), claim("two"))
    tasks = unique(task for each in claims for task in tasks_of(each, each.arms, (0, 1, 2), 1.0, "cpu"))
    assert len(tasks) == 6
    assert str(tasks[0]) == "claim one: arm shifted (and 1 more), seed 0"


def test_an_arm_that_cannot_be_sent_or_known_is_refused_by_name():
    with pytest.raises(InputError, match="claim odd: arm a: its function must stand in a module"):
        check_arms([claim("odd", arms={"a": Arm(lambda **options: {})}, comparisons=(), untestable="never")])
    with pytest.raises(InputError, match="claim odd: arm a: its config has no JSON form"):
        check_arms([claim("odd", arms={"a": Arm(steady, {"shift": {1.0}})}, comparisons=(), untestable="never")])
