"""Dropout: which share it leaves out, what it multiplies by, and that nobody's random numbers are used up."""

import pytest
import torch

from interp import intervene, record
from toy_models.errors import InputError
from toy_models.layers import Dropout


def test_what_is_kept_is_scaled_so_that_the_mean_stays():
    torch.manual_seed(0)
    out = Dropout(0.2, "batch unit").train()(torch.ones(100, 1000))
    kept = (out != 0).float().mean().item()
    assert abs(kept - 0.8) < 4 * (0.2 * 0.8 / 1e5) ** 0.5
    assert torch.allclose(out[out != 0], torch.tensor(1.25))
    assert abs(out.mean().item() - 1) < 4 * 1.25 * (0.2 * 0.8 / 1e5) ** 0.5


def test_evaluation_and_rate_zero_leave_the_input_alone():
    x = torch.randn(3, 4)
    assert torch.equal(Dropout(0.7, "batch unit").eval()(x), x)
    assert torch.equal(Dropout(0.0, "batch unit").train()(x), x)


def test_the_mask_can_be_read_and_replaced():
    layer, x = Dropout(0.5, "batch unit").train(), torch.arange(1.0, 9).view(2, 4)
    torch.manual_seed(3)
    plain = layer(x)
    torch.manual_seed(3)
    mask = record(layer, x, names="hook_mask")["hook_mask"]
    assert torch.equal(plain, x * mask)
    with intervene(layer, {"hook_mask": lambda mask: torch.full_like(mask, 3.0)}):
        assert torch.equal(layer(x), 3 * x)


def test_recording_does_not_use_up_random_numbers():
    layer, x = Dropout(0.5, "batch unit").train(), torch.ones(2, 4)
    torch.manual_seed(3)
    record(layer, x, names="hook_mask")
    recorded_before = layer(x)
    torch.manual_seed(3)
    assert torch.equal(recorded_before, layer(x))


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_a_rate_that_leaves_nothing_is_refused(rate):
    with pytest.raises(InputError, match="a dropout rate must be 0 or above and below 1, got"):
        Dropout(rate, "batch unit")
