"""A recorded model is bit for bit what it was: parameters, buffers, mode, random state; in both modes."""

import hashlib

import pytest
import torch
from torch import nn

from interp.hooks import record


class Awkward(nn.Module):
    """BatchNorm and spectral norm learn in training mode, dropout and noise draw, and one buffer is rebound."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.utils.parametrizations.spectral_norm(nn.Linear(6, 6)),
            nn.BatchNorm1d(6),
            nn.Dropout(0.5),
            nn.BatchNorm1d(6, momentum=None),
        )
        self.register_buffer("runs", torch.zeros(()))
        self.runs: torch.Tensor

    def forward(self, x, fail=False):
        self.runs = self.runs + 1
        x = self.body(x + 0.1 * torch.randn_like(x))
        if fail:
            raise ZeroDivisionError
        return x


def fingerprint(model):
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    digest.update(torch.get_rng_state().numpy().tobytes())
    digest.update(str([module.training for module in model.modules()]).encode())
    return digest.hexdigest()


@pytest.fixture(params=[True, False], ids=["training", "evaluation"])
def model(request):
    torch.manual_seed(0)
    return Awkward().train(request.param)


@pytest.fixture
def x():
    return torch.randn(8, 6)


@pytest.mark.parametrize("grad", [False, True])
def test_a_recorded_model_and_the_random_state_are_unchanged(model, x, grad):
    before, held = fingerprint(model), model.runs
    record(model, x, grad=grad)
    assert fingerprint(model) == before
    assert model.runs is held
    model(x)
    assert fingerprint(model) != before  # which a plain run does change


def test_they_are_unchanged_after_a_failure_too(model, x):
    before = fingerprint(model)
    with pytest.raises(ZeroDivisionError):
        record(model, x, fail=True)
    assert fingerprint(model) == before


def test_the_recorded_run_is_the_run_that_would_have_been(model, x):
    recorded = record(model, x).output
    torch.testing.assert_close(model(x), recorded)


def test_gradients_through_a_recorded_batchnorm_are_those_of_a_plain_run():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU()).train(), torch.randn(5, 3)
    activations = record(model, x, grad=True)
    recorded = torch.autograd.grad(activations.output.square().sum(), list(model.parameters()))
    plain = torch.autograd.grad(model(x).square().sum(), list(model.parameters()))
    torch.testing.assert_close(recorded, plain)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA GPU")
def test_the_random_state_of_the_gpu_is_put_back():
    model, x = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5)).cuda().train(), torch.ones(5, 3, device="cuda")
    before = torch.cuda.get_rng_state()
    record(model, x)
    assert torch.equal(torch.cuda.get_rng_state(), before)
