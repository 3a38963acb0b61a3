"""What all tasks share."""

import math

import pytest
import torch

from toy_models.config import to_dict
from toy_models.task_config import (
    MarkovConfig,
    RepeatedTokensConfig,
    SkipTrigramsConfig,
    TextConfig,
    task_config_from_dict,
)
from toy_models.tasks import Task, make_task
from toy_models.tasks.base import check_tokens, estimate_loss, some_predictable


@pytest.fixture
def every_config(tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.txt").write_text(f"{name} was here and there " * 30)
    text = TextConfig(paths=(str(tmp_path),), n_ctx=16, max_vocab=260)
    return [RepeatedTokensConfig(), MarkovConfig(), SkipTrigramsConfig(), text]


def test_every_config_makes_its_task_also_after_a_round_trip(every_config, generator):
    for config in every_config:
        task = make_task(task_config_from_dict(to_dict(config)))
        assert isinstance(task, Task)
        assert task.config == config
        batch = task.sample(3, generator)
        assert batch.tokens.shape == batch.predictable.shape == (3, config.n_ctx)
        assert batch.tokens.dtype == torch.int64
        assert batch.tokens[:, 0].tolist() == [0, 0, 0]
        assert not bool(batch.predictable[:, 0].any())
        assert len(task.vocabulary) == task.d_vocab > int(batch.tokens.max())
        assert task.vocabulary.bos == 0
        assert task.n_ctx == config.n_ctx
        assert task.chance_loss == pytest.approx(math.log(task.d_vocab))


def test_mean_loss_weighs_every_predictable_position_alike():
    losses = torch.tensor([[9.0, 1.0, 2.0], [9.0, 9.0, 6.0]])
    mask = torch.tensor([[False, True, True], [False, False, True]])
    estimate = estimate_loss(losses, mask)
    assert estimate.mean == pytest.approx(3.0)
    assert estimate.n == 2
    spread = math.sqrt(((3 - 6) ** 2 + (6 - 3) ** 2) / 1)
    assert estimate.standard_error == pytest.approx(spread / (math.sqrt(2) * 1.5))


def test_one_sequence_gives_no_finite_standard_error():
    assert estimate_loss(torch.ones(1, 2), torch.ones(1, 2, dtype=torch.bool)).standard_error == math.inf


def test_infinite_losses_outside_the_mask_do_not_count():
    losses = torch.tensor([[math.inf, 1.0], [math.nan, 3.0]])
    mask = torch.tensor([[False, True], [False, True]])
    assert estimate_loss(losses, mask).mean == 2.0


def test_some_predictable_chooses_about_as_many_as_asked_and_all_alike(generator):
    mask = torch.zeros(20000, 10, dtype=torch.bool)
    mask[:10000, 5:] = True
    mask[10000:, 8:] = True
    chosen = some_predictable(mask, 2, generator)
    assert not bool((chosen & ~mask).any())
    assert chosen.sum() / 20000 == pytest.approx(2, abs=0.05)
    share = chosen.sum(dim=0) / mask.sum(dim=0).clamp(min=1)
    assert share[5:].tolist() == pytest.approx([2 / 3.5] * 5, abs=0.03)


def test_some_predictable_keeps_every_position_when_there_are_few(generator):
    mask = torch.tensor([[False, True, True], [False, False, True]])
    assert torch.equal(some_predictable(mask, 4, generator), mask)


def test_tokens_without_bos_may_hold_token_zero_anywhere():
    check_tokens(torch.tensor([[1, 0, 2]]), d_vocab=3, n_ctx=3, bos=False)
