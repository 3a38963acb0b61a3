"""One step of ours against AdamW written out; what decays; the optimiser's memory there and back."""

import pytest
import torch

from tests.small_runs import MODEL, TRAIN
from toy_models.errors import InputError
from toy_models.training.optimizer import is_matrix, make_optimizer, optimizer_tensors, restore_optimizer
from toy_models.transformer import Transformer


def model_with_gradients(seed: int = 0) -> Transformer:
    generator = torch.Generator().manual_seed(seed)
    model = Transformer(MODEL, generator)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    return model


def test_only_matrices_decay():
    model = Transformer(MODEL)
    decaying, others = make_optimizer(model, TRAIN).param_groups
    names = {id(p): name for name, p in model.named_parameters()}
    assert decaying["weight_decay"] == 0.1
    assert others["weight_decay"] == 0.0
    assert {names[id(p)].rsplit(".", 1)[-1][:2] for p in decaying["params"]} == {"W_"}
    assert {names[id(p)].rsplit(".", 1)[-1] for p in others["params"]} == {*("w", "b", "b_QKV", "b_O", "b_U", "smear")}
    assert [is_matrix(n) for n in ("embed.W_E", "blocks.0.ln1.w", "blocks.0.attn.smear")] == [True, False, False]


def test_steps_are_adamw_as_published():
    """Loshchilov and Hutter 2019, algorithm 2, in float64 by hand."""
    model = model_with_gradients()
    before = {name: p.detach().double() for name, p in model.named_parameters()}
    optimizer = make_optimizer(model, TRAIN)
    first = {name: p.grad.clone().double() for name, p in model.named_parameters() if p.grad is not None}
    for _ in range(3):
        optimizer.step()
        for parameter in model.parameters():
            assert parameter.grad is not None
            parameter.grad *= -0.5
    for name, parameter in model.named_parameters():
        gradient, w = first[name], before[name]
        m = v = torch.zeros_like(w)
        for t in (1, 2, 3):
            m = 0.9 * m + 0.1 * gradient
            v = 0.99 * v + 0.01 * gradient**2
            decay = 0.1 * w if is_matrix(name) else 0.0
            w = w - 1e-2 * (m / (1 - 0.9**t) / ((v / (1 - 0.99**t)).sqrt() + 1e-8) + decay)
            gradient = -0.5 * gradient
        torch.testing.assert_close(parameter.detach().double(), w, rtol=1e-5, atol=1e-6)


def test_a_restored_optimizer_goes_on_bit_for_bit():
    model = model_with_gradients()
    optimizer = make_optimizer(model, TRAIN)
    optimizer.step()
    saved = {name: tensor.clone() for name, tensor in optimizer_tensors(model, optimizer).items()}
    assert "exp_avg/blocks.1.attn.W_Q" in saved
    assert saved["step/embed.W_E"].item() == 1
    twin = model_with_gradients()
    twin.load_state_dict(model.state_dict())
    twin_optimizer = make_optimizer(twin, TRAIN)
    restore_optimizer(twin, twin_optimizer, saved)
    optimizer.step()
    twin_optimizer.step()
    for (name, ours), theirs in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert torch.equal(ours, theirs), name
    assert saved["step/embed.W_E"].item() == 1, "the tensors that were passed in must not be changed"


def test_the_memory_of_another_model_is_refused():
    model = model_with_gradients()
    with pytest.raises(InputError, match=r"there is no parameter 'encoder\.W'"):
        restore_optimizer(model, make_optimizer(model, TRAIN), {"exp_avg/encoder.W": torch.zeros(1)})
    with pytest.raises(InputError, match=r"exp_avg/embed\.W_E has shape \[1\], expected \[12, 12\]"):
        restore_optimizer(model, make_optimizer(model, TRAIN), {"exp_avg/embed.W_E": torch.zeros(1)})
