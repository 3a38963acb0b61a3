"""Blocks of linear maps with and without shortcuts."""

import pytest
import torch

from interp import record
from toy_models.errors import InputError
from toy_models.residual_mlp import ResidualMLP, ResidualMLPConfig


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(n=7, d=4):
    return torch.randn(n, d, generator=seeded(1))


def a_model(**options):
    return ResidualMLP(ResidualMLPConfig(**{"d": 4, "d_hidden": 8, "n_blocks": 3} | options), seeded())


def test_it_computes_what_its_equation_says():
    for residual in (True, False):
        model, x = a_model(residual=residual), drawn()
        expected = x
        for block in model.blocks:
            hidden = (expected @ block.read.weight.T + block.read.bias).relu()
            expected = hidden @ block.write.weight.T + block.write.bias + (expected if residual else 0)
        assert torch.allclose(model(x), expected, atol=1e-6)


def test_with_twice_as_many_hidden_units_a_plain_block_can_be_the_identity():
    model = a_model(residual=False)
    eye = torch.eye(4)
    with torch.no_grad():
        for block in model.blocks:
            block.read.weight.copy_(torch.cat([eye, -eye]))
            block.write.weight.copy_(torch.cat([eye, -eye], 1))
    assert torch.allclose(model(drawn()), drawn(), atol=1e-6)


def test_a_residual_block_is_the_identity_when_its_weights_are_zero():
    assert torch.equal(a_model(init_scale=0.0)(drawn()), drawn())
    assert not a_model(init_scale=0.0, residual=False)(drawn()).any()


def test_a_plain_block_keeps_the_size_of_its_input_and_a_residual_one_doubles_the_square():
    for residual, factor in ((False, 1.0), (True, 2.0)):
        model = ResidualMLP(ResidualMLPConfig(d=256, d_hidden=512, n_blocks=1, residual=residual), seeded())
        x = drawn(500, 256)
        assert float(model(x).detach().square().mean() / x.square().mean()) == pytest.approx(factor, rel=0.1)


def test_the_sum_on_its_hook_point_is_the_shortcut_plus_the_rest():
    run = record(a_model(), drawn(), names="*")
    block = a_model().blocks[0]
    written = run["blocks.0.hook_post"] @ block.write.weight.T
    assert torch.allclose(run["blocks.0.hook_add"], run["blocks.0.hook_shortcut"] + written, atol=1e-6)
    assert torch.equal(run["blocks.1.hook_shortcut"], run["blocks.0.hook_add"])


def test_sizes_that_cannot_work_say_why():
    with pytest.raises(InputError, match="n_blocks must be at least 1, got 0"):
        ResidualMLPConfig(n_blocks=0)
    with pytest.raises(InputError, match=r"input must be \[batch 4\]"):
        a_model()(torch.zeros(2, 5))
