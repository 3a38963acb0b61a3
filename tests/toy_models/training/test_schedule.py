"""Learning rates by hand, and which steps are measured and kept."""

import pytest

from toy_models.train_config import TrainConfig
from toy_models.training.schedule import is_evaluated, is_kept, is_logged, learning_rate


def rates(**options) -> list[float]:
    config = TrainConfig(learning_rate=8.0, final_share=0.25, **options)
    return [learning_rate(done, config) for done in range(config.steps)]


def test_warm_up_is_linear_and_starts_above_zero():
    assert rates(steps=6, warmup_steps=4, decay="none") == [2.0, 4.0, 6.0, 8.0, 8.0, 8.0]


def test_linear_decay_ends_at_the_final_share_with_the_last_update():
    assert rates(steps=6, warmup_steps=1, decay="linear") == pytest.approx([8.0, 8.0, 6.5, 5.0, 3.5, 2.0])


def test_cosine_decay_is_halfway_in_the_middle():
    assert rates(steps=5, warmup_steps=0, decay="cosine") == pytest.approx(
        [8.0, 2 + 6 * (2 + 2**0.5) / 4, 5.0, 2 + 6 * (2 - 2**0.5) / 4, 2.0]
    )


def test_a_run_that_is_all_warm_up_is_possible():
    assert rates(steps=2, warmup_steps=4, decay="cosine") == [2.0, 4.0]
    assert rates(steps=1, warmup_steps=0, decay="cosine") == [8.0]


def steps_where(rule, **options) -> list[int]:
    config = TrainConfig(**options)
    return [step for step in range(config.steps + 1) if rule(step, config)]


def test_checkpoints_are_regular_and_log_spaced_and_first_and_last():
    assert steps_where(is_kept, steps=23, checkpoint_every=10) == [0, 1, 2, 4, 8, 10, 16, 20, 23]
    assert steps_where(is_kept, steps=23, checkpoint_every=10, log_spaced_checkpoints=False) == [0, 10, 20, 23]
    assert steps_where(is_kept, steps=23, checkpoint_every=0, log_spaced_checkpoints=False) == [0, 23]


def test_the_held_out_sample_is_measured_first_regularly_and_last():
    assert steps_where(is_evaluated, steps=23, eval_every=10) == [0, 10, 20, 23]


def test_a_step_is_logged_whenever_the_held_out_sample_is_measured():
    assert steps_where(is_logged, steps=23, log_every=6, eval_every=10) == [0, 1, 6, 10, 12, 18, 20, 23]
