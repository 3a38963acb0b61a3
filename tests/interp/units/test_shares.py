"""Shares of one value's norm in another's, where both are known."""

import pytest
import torch

from interp import record
from interp.errors import InputError
from interp.units import norm_shares
from toy_models.vision import ResNet, ResNetConfig

PAIR = ("blocks.1.layers.1.hook_norm", "blocks.1.hook_shortcut")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def a_net(gamma=1.0):
    net = ResNet(ResNetConfig(widths=(2, 3, 4), depth=8), seeded()).eval()
    with torch.no_grad():
        net.blocks[1].layers[1].norm.weight.fill_(gamma)
    return net


def images(n=6):
    return torch.rand(n, 1, 8, 8, generator=seeded(1))


def test_the_share_of_a_block_is_the_ratio_of_mean_norms_of_its_two_parts():
    run = record(a_net(), images(), names=list(PAIR))
    norms = [run[name].double().flatten(1).norm(dim=1).mean() for name in PAIR]
    (found,) = norm_shares(a_net(), images(), [PAIR], seeded(), batch_size=4)
    assert found.share.mean == pytest.approx(float(norms[0] / norms[1]), rel=1e-6)
    assert found.share.low < found.share.mean < found.share.high
    assert (found.value, found.beside) == PAIR


def test_a_block_whose_gamma_is_three_times_as_large_has_three_times_the_share():
    one, three = (norm_shares(a_net(gamma), images(), [PAIR], seeded())[0].share.mean for gamma in (1.0, 3.0))
    assert three == pytest.approx(3 * one, rel=1e-6)


def test_shares_come_in_the_order_of_the_pairs_and_of_itself_is_one():
    found = norm_shares(a_net(), images(), [PAIR[::-1], (PAIR[0], PAIR[0]), PAIR], seeded())
    assert found[1].share.mean == 1
    assert found[0].share.mean == pytest.approx(1 / found[2].share.mean)


def test_what_cannot_be_measured_is_one_clear_line():
    with pytest.raises(InputError, match="at least one pair"):
        norm_shares(a_net(), images(), [], seeded())
    with pytest.raises(InputError, match="training mode"):
        norm_shares(a_net().train(), images(), [PAIR], seeded())
    with pytest.raises(InputError, match="cannot be told from 0"):
        norm_shares(a_net(0.0), images(), [PAIR[::-1]], seeded())
