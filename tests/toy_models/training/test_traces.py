"""What is recorded of an update is what the optimiser did: recurrences, formulas, differences of weights."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from tests.small_shelf import shelf_run
from toy_models.errors import InputError
from toy_models.training import trace_updates, train_shelf_in_memory
from toy_models.weights_file import model_hash


def steps(optimizer_of, n=5, names="*", every=1, clear=True):
    """n steps of a linear map on random batches; its weights before each, its gradients, and the trace."""
    drawn = torch.Generator().manual_seed(0)
    model = nn.Linear(3, 2).double()
    optimizer = optimizer_of(model.parameters())
    weights, gradients = [model.weight.detach().clone()], []
    with trace_updates(model, optimizer, names, every) as trace:
        for _ in range(n):
            optimizer.zero_grad()
            model(torch.randn(4, 3, generator=drawn, dtype=torch.float64)).square().mean().backward()
            gradients.append(model.weight.grad.clone())
            optimizer.step()
            weights.append(model.weight.detach().clone())
    return trace, weights, gradients, model, optimizer


def test_momentum_of_sgd_follows_its_recurrence_and_the_step_follows_it():
    """v <- 0.9 v + g + decay w, step = -rate v."""
    trace, weights, gradients, *_ = steps(lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.5))
    v = torch.zeros(2, 3, dtype=torch.float64)
    for t, gradient in enumerate(gradients):
        v = 0.9 * v + gradient + 0.5 * weights[t]
        assert torch.equal(trace.gradient["weight"][t], gradient)
        torch.testing.assert_close(trace.momentum["weight"][t], v, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(trace.effective["weight"][t], -0.1 * v, rtol=1e-9, atol=1e-14)
    assert trace.squares == {}


def test_memories_of_adam_follow_its_formulas_and_the_step_follows_them():
    trace, _, gradients, *_ = steps(lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.8, 0.9)))
    m = v = torch.zeros(2, 3, dtype=torch.float64)
    for t, gradient in enumerate(gradients, start=1):
        m, v = 0.8 * m + 0.2 * gradient, 0.9 * v + 0.1 * gradient**2
        torch.testing.assert_close(trace.momentum["weight"][t - 1], m, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(trace.squares["weight"][t - 1], v, rtol=1e-12, atol=1e-14)
        step = -0.01 * (m / (1 - 0.8**t)) / ((v / (1 - 0.9**t)).sqrt() + 1e-8)
        torch.testing.assert_close(trace.effective["weight"][t - 1], step, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("fused", [True, False])
def test_the_effective_step_is_the_difference_of_the_weights(fused):
    trace, weights, *_ = steps(lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.5, fused=fused))
    differences = torch.stack([after - before for before, after in pairwise(weights)])
    assert torch.equal(trace.stacked("effective", "weight"), differences)


def test_every_second_step_can_be_recorded_and_the_first_always_is():
    every, *_ = steps(lambda p: torch.optim.SGD(p, lr=0.1))
    second, *_ = steps(lambda p: torch.optim.SGD(p, lr=0.1), every=2)
    assert second.steps == [1, 3, 5]
    assert every.steps == [1, 2, 3, 4, 5]
    assert len(second.gradient["weight"]) == len(second.learning_rate["weight"]) == 3


def test_recorded_tensors_are_copies_that_later_steps_leave_alone():
    trace, _, gradients, _, optimizer = steps(lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9))
    first = trace.momentum["weight"][0].clone()
    optimizer.step()
    assert torch.equal(trace.momentum["weight"][0], first)
    assert torch.equal(first, gradients[0])


def test_hooks_are_gone_when_the_block_ends_also_after_an_error():
    trace, *_, model, optimizer = steps(lambda p: torch.optim.SGD(p, lr=0.1))
    optimizer.step()
    assert len(trace.steps) == 5
    with pytest.raises(ZeroDivisionError), trace_updates(model, optimizer) as broken:
        raise ZeroDivisionError
    optimizer.step()
    assert broken.steps == []


def test_names_choose_parameters_and_one_that_matches_none_is_refused():
    trace, *_, model, optimizer = steps(lambda p: torch.optim.SGD(p, lr=0.1), names=["bi*"])
    assert trace.names == ("bias",)
    assert list(trace.gradient) == ["bias"]
    with (
        pytest.raises(InputError, match="no trained parameter is called 'wieght'; there are weight, bias"),
        trace_updates(model, optimizer, "wieght"),
    ):
        pass
    with pytest.raises(InputError, match="every must be at least 1"), trace_updates(model, optimizer, every=0):
        pass


def test_what_was_not_kept_is_refused_by_name():
    trace, *_ = steps(lambda p: torch.optim.SGD(p, lr=0.1), names="weight")
    with pytest.raises(InputError, match="no momentum of weight: the optimiser keeps none"):
        trace.stacked("momentum", "weight")
    with pytest.raises(InputError, match="'bias' was not traced; traced: weight"):
        trace.stacked("gradient", "bias")
    with pytest.raises(InputError, match="kind must be one of gradient, momentum, squares, effective, got 'velocity'"):
        trace.stacked("velocity", "weight")


def test_a_traced_training_is_the_same_training_with_its_schedule():
    config = shelf_run(optimizer="sgd", decay="step", drops=(0.5,), drop_factor=0.1)
    traced, bare = train_shelf_in_memory(config, trace="*.weight"), train_shelf_in_memory(config)
    assert model_hash(traced.model) == model_hash(bare.model)
    assert bare.trace is None
    assert traced.trace is not None
    assert traced.trace.names == ("blocks.0.linear.weight", "blocks.0.norm.weight", "classify.weight")
    assert traced.trace.learning_rate["classify.weight"] == [1e-2] * 6 + [pytest.approx(1e-3)] * 6
    v, rate = traced.trace.momentum["classify.weight"], traced.trace.learning_rate["classify.weight"]
    for t in range(12):
        torch.testing.assert_close(traced.trace.effective["classify.weight"][t], -rate[t] * v[t], rtol=0, atol=1e-7)
