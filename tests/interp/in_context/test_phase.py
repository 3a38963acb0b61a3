"""The phase change of planted curves."""

import math

import pytest
import torch

from interp.errors import InputError
from interp.in_context import phase_change

STEPS = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 500, 512, 1000]


def planted(drop_at, depth=3.0, noise=0.05, steps=STEPS, seed=0):
    """Scores of 32 sequences that fall by `depth` along a logistic curve of ln step around `drop_at`."""
    draw = torch.randn(len(steps), 32, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * noise
    curve = [-depth / (1 + math.exp(-8 * (math.log(max(step, 0.5)) - math.log(drop_at)))) for step in steps]
    return torch.tensor(curve, dtype=torch.float64)[:, None] + draw


@pytest.mark.parametrize("drop_at, around", [(23, (16, 32)), (180, (128, 256)), (360, (256, 500))])
def test_phase_change_lies_between_the_checkpoints_around_the_drop(generator, drop_at, around):
    scores = planted(drop_at)
    found = phase_change(STEPS, scores, generator)
    assert found is not None
    assert (found.before, found.after) == around
    a, b = STEPS.index(found.before), STEPS.index(found.after)
    change = float((scores[b] - scores[a]).mean())
    assert found.change.mean == pytest.approx(change)
    assert found.slope == pytest.approx(change / math.log(found.after / found.before))
    total = float((scores[-1] - scores[1]).mean())
    assert found.share is not None
    assert found.share.mean == pytest.approx(change / total)
    assert found.change.level == pytest.approx(1 - 0.05 / 10)  # 13 checkpoints less step 0 and 512: 10 stretches


def test_scores_that_only_vary_have_no_phase_change(generator):
    assert all(phase_change(STEPS, planted(100, 0, 0.2, seed=seed), generator) is None for seed in range(20))


def test_a_fall_below_a_tenth_of_a_nat_is_no_phase_change(generator):
    assert phase_change(STEPS, planted(180, 0.09, 0.001), generator) is None
    assert phase_change(STEPS, planted(180, 0.15, 0.001), generator) is not None


def test_a_short_stretch_is_not_compared(generator):
    scores = planted(23)
    scores[STEPS.index(512) :] -= 0.5  # 20 nats for each e-fold between 500 and 512
    found = phase_change(STEPS, scores, generator)
    assert found is not None
    assert (found.before, found.after) == (16, 32)


def test_one_checkpoint_above_step_0_has_no_stretch(generator):
    assert phase_change([0, 100], planted(10, steps=[0, 100]), generator) is None


@pytest.mark.parametrize("steps", [[1, 2], [1, 4, 4], [4, 2, 8]])
def test_steps_must_ascend_and_be_as_many_as_scores(generator, steps):
    with pytest.raises(InputError, match="each of 3 rows of scores needs its step, ascending"):
        phase_change(steps, torch.zeros(3, 4, dtype=torch.float64), generator)
