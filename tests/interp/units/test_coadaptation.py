"""Cancellation and deletion where both are known."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from interp.errors import InputError
from interp.units import cancelled_share, deletion_damage
from toy_models.hook_point import HookPoint
from toy_models.mlp import MLP
from toy_models.vector_config import MLPConfig


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class Sum(nn.Module):
    """The sum of its inputs, each of them a unit."""

    def __init__(self):
        super().__init__()
        self.hook_post = HookPoint("batch unit")

    def forward(self, x):
        return self.hook_post(x).sum(1)


def test_contributions_of_one_sign_cancel_nothing_and_opposite_pairs_everything():
    values = torch.ones(3, 4)
    assert cancelled_share(values, torch.ones(2, 4), seeded()).share == pytest.approx(0)
    assert cancelled_share(values, torch.tensor([[1.0, -1.0, 2.0, -2.0]]), seeded()).share == pytest.approx(1)


def test_a_unit_that_undoes_half_of_another_cancels_two_thirds():
    values, weights = torch.tensor([[2.0, 1.0]]), torch.tensor([[1.0, -1.0]])
    assert cancelled_share(values, weights, seeded()).share == pytest.approx(1 - 1 / 3)


def test_normal_contributions_cancel_by_chance_as_one_over_the_root_of_their_number():
    values, weights = torch.ones(1, 400), torch.randn(500, 400, generator=seeded(1))
    found = cancelled_share(values, weights, seeded())
    assert found.share == pytest.approx(1 - 1 / 20, abs=0.01)
    assert found.random.mean == pytest.approx(1 - 1 / 20, abs=0.01)
    assert abs(found.excess) < 0.01


def test_units_that_agree_lie_below_chance_and_units_that_undo_each_other_above():
    values = torch.rand(50, 16, generator=seeded(2))
    assert cancelled_share(values, torch.ones(8, 16), seeded()).excess < -0.5
    alternating = torch.tensor([1.0, -1.0]).repeat(8).expand(8, 16)
    assert cancelled_share(torch.ones(50, 16), alternating, seeded()).excess > 0.15


def test_deleting_units_of_a_sum_takes_their_share_of_it():
    x = torch.ones(5, 8)
    found = deletion_damage(Sum().eval(), x, torch.full((5,), 8.0), F.mse_loss, "hook_post", seeded(), share=0.25)
    assert found.intact == 0
    assert found.deleted.mean == pytest.approx(4.0)
    assert found.damage == pytest.approx(4.0)
    assert found.deleted.maximum == pytest.approx(4.0)


def test_units_nobody_reads_can_go_without_damage():
    model = MLP(MLPConfig(d_in=3, widths=(8,), d_out=2), seeded()).eval()
    with torch.no_grad():
        model.classify.weight.zero_()
    x, y = torch.randn(6, 3, generator=seeded(1)), torch.tensor([0, 1, 0, 1, 0, 1])
    found = deletion_damage(model, x, y, F.cross_entropy, "blocks.0.hook_post", seeded())
    assert found.intact == pytest.approx(math.log(2))
    assert found.damage == pytest.approx(0, abs=1e-7)


def test_draws_differ_and_come_from_the_generator():
    x = torch.arange(8.0)[None]
    runs = [
        deletion_damage(Sum().eval(), x, torch.zeros(1), F.l1_loss, "hook_post", seeded(s), draws=5) for s in (0, 0, 1)
    ]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    assert runs[0].deleted.std > 0


def test_bad_input_is_refused():
    model, x = Sum().eval(), torch.ones(2, 3)
    with pytest.raises(InputError, match="training mode"):
        deletion_damage(Sum(), x, x, F.mse_loss, "hook_post", seeded())
    with pytest.raises(InputError, match="share must lie"):
        deletion_damage(model, x, x, F.mse_loss, "hook_post", seeded(), share=1.0)
    with pytest.raises(InputError, match="is none"):
        deletion_damage(model, x, torch.ones(2), F.mse_loss, "hook_post", seeded(), share=0.1)
    two = MLP(MLPConfig(d_in=3, widths=(4, 4), d_out=2), seeded()).eval()
    with pytest.raises(InputError, match="means 2 points"):
        deletion_damage(two, x, torch.zeros(2).long(), F.cross_entropy, "*hook_post", seeded())
    with pytest.raises(InputError, match="write nothing"):
        cancelled_share(torch.zeros(2, 3), torch.ones(1, 3), seeded())
