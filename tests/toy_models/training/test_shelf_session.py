"""A step on an objective is that of a plain PyTorch loop; noise, order and state are a run's own."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.small_shelf import MODEL, shelf_run, superposition_run
from toy_models.errors import InputError
from toy_models.mlp import MLP
from toy_models.shelf_config import ShelfTrainConfig
from toy_models.superposition import Superposition
from toy_models.training import TrainingDiverged, train_model, train_shelf_in_memory
from toy_models.training.objectives import Examples, Regression, objective_of
from toy_models.training.seeds import generator_for
from toy_models.training.shelf_session import ShelfSession
from toy_models.weights_file import model_hash

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def objective():
    """40 digits to train on; the same for every run of seed 3."""
    return objective_of(shelf_run(seed=3))


def line(n: int = 20) -> Regression:
    """y = 2 x, to learn in a few steps."""
    x = torch.linspace(-1, 1, n)[:, None]
    return Regression(Examples(x, 2 * x), Examples(x, 2 * x))


def test_steps_are_those_of_a_plain_loop_with_batch_norm_and_dropout(objective):
    config = shelf_run(seed=3, optimizer="sgd", weight_decay=0.1, decoupled=False, decay="linear", warmup_steps=2).train
    ours, twin = (MLP(MODEL, torch.Generator().manual_seed(1)) for _ in range(2))
    train_model(ours, objective, config)
    weights = [p for p in twin.parameters() if p.ndim > 1]
    others = [p for p in twin.parameters() if p.ndim == 1]
    optimizer = torch.optim.SGD([{"params": weights, "weight_decay": 0.1}, {"params": others}], lr=1.0, momentum=0.9)
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(generator_for(3, "dropout").get_state())
        for step in range(12):
            if step % 2 == 0:  # of 40 digits, an epoch has two batches of 16
                order = torch.randperm(40, generator=generator_for(3, f"order of epoch {step // 2}"))
            batch = order[16 * (step % 2) :][:16]
            for group in optimizer.param_groups:
                group["lr"] = 1e-2 * ((step + 1) / 2 if step < 2 else 1 - (step - 2) / 9)
            optimizer.zero_grad()
            F.cross_entropy(twin(objective.train.inputs[batch]), objective.train.targets[batch]).backward()
            optimizer.step()
    for name, tensor in twin.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], tensor, rtol=1e-5, atol=1e-7)
    assert not ours.training


def test_the_gradient_is_clipped_to_its_limit_and_its_length_noted():
    model = nn.Linear(1, 1)
    records = train_model(model, line(), ShelfTrainConfig(steps=3, batch_size=20, grad_clip=1e-3, log_every=1)).records
    clipped = train_model(
        model, line(), ShelfTrainConfig(steps=1, batch_size=20, grad_clip=1e-3, optimizer="sgd"), trace="*"
    ).trace
    assert clipped is not None
    length = torch.stack([g[0].norm() for g in clipped.gradient.values()]).norm().item()
    assert length == pytest.approx(1e-3, rel=1e-2)
    assert all(r["grad_norm"] > 1e-2 for r in records[1:])


def test_torchs_default_generator_neither_changes_nor_matters(objective):
    before = torch.get_rng_state()
    first = train_shelf_in_memory(shelf_run(seed=3), objective=objective)
    assert torch.equal(torch.get_rng_state(), before)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        again = train_shelf_in_memory(shelf_run(seed=3), objective=objective)
    assert model_hash(first.model) == model_hash(again.model)


def test_the_default_generator_is_given_back_when_the_model_fails(objective):
    def fail(*_):
        torch.rand(7)
        raise ZeroDivisionError

    model = MLP(MODEL)
    model.classify.register_forward_pre_hook(fail)
    session = ShelfSession(model, objective, shelf_run().train, CPU)
    before = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError):
        session.advance()
    assert torch.equal(torch.get_rng_state(), before)


def test_seeds_decide_weights_order_dropout_and_held_out_examples():
    first, other = (train_shelf_in_memory(shelf_run(seed=seed)) for seed in (0, 1))
    assert model_hash(first.model) != model_hash(other.model)
    assert not torch.equal(first.objective.held_out.targets, other.objective.held_out.targets)
    sessions = [ShelfSession(MLP(MODEL), first.objective, shelf_run(seed=s).train, CPU) for s in (0, 1)]
    assert not torch.equal(sessions[0].noise, sessions[1].noise)
    assert not torch.equal(*(s.source.draw(0).inputs for s in sessions))


def test_measuring_changes_no_weight_and_runs_in_evaluation_mode(objective):
    rarely = train_shelf_in_memory(shelf_run(seed=3, eval_every=100, log_every=100), objective=objective)
    often = train_shelf_in_memory(shelf_run(seed=3, eval_every=1, log_every=1), objective=objective)
    assert model_hash(rarely.model) == model_hash(often.model)
    logits = often.model(objective.held_out.inputs)
    assert often.held_out["loss"] == pytest.approx(F.cross_entropy(logits, objective.held_out.targets).item(), rel=1e-5)
    assert often.held_out["accuracy"] == (logits.argmax(1) == objective.held_out.targets).double().mean()
    assert often.held_out == {k: often.records[-1][f"eval_{k}"] for k in ("loss", "accuracy")}


def test_a_record_says_what_was_read_and_in_which_epoch(objective):
    result = train_shelf_in_memory(shelf_run(seed=3), objective=objective)
    last = result.records[-1]
    assert (last["step"], last["examples"], last["epoch"]) == (12, 12 * 16, 6.0)
    assert [r["step"] for r in result.records] == [0, 1, 3, 4, 6, 8, 9, 12]
    assert "epoch" not in train_shelf_in_memory(superposition_run()).records[-1]


def test_parameters_that_need_no_gradient_stay_as_they_are(objective):
    model = MLP(MODEL)
    model.classify.requires_grad_(False)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    train_model(model, objective, shelf_run(seed=3).train)
    assert torch.equal(model.classify.weight, before["classify.weight"])
    assert not torch.equal(model.blocks[0].linear.weight, before["blocks.0.linear.weight"])
    model.requires_grad_(False)
    with pytest.raises(InputError, match="no parameters that need gradients"):
        train_model(model, objective, shelf_run(seed=3).train)


def test_a_rate_that_is_far_too_high_stops_with_what_to_change():
    config = ShelfTrainConfig(steps=400, batch_size=20, optimizer="sgd", learning_rate=50.0)
    with pytest.raises(TrainingDiverged, match=r"became (inf|nan) after \d+ updates: lower learning_rate"):
        train_model(nn.Linear(1, 1), line(), config)


def test_one_value_per_unit_in_batch_norm_is_refused_before_anything_is_trained(objective):
    model = MLP(MODEL)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(InputError, match="more than one value for each unit, got one: use a larger batch"):
        train_model(model, objective, shelf_run(seed=3, batch_size=1).train)
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in state.items())
    train_model(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), objective, shelf_run(seed=3, batch_size=1).train)


def test_a_batch_larger_than_the_training_set_is_refused(objective):
    with pytest.raises(InputError, match="a batch of 41 is more than the 40 training examples"):
        train_shelf_in_memory(shelf_run(seed=3, batch_size=41), objective=objective)


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: state.pop("noise"),
        lambda state: state.update(noise=torch.zeros(3).byte()),
        lambda state: state.update(noise=7),
        lambda state: state.pop("seconds"),
        lambda state: state.pop("data_generator"),
    ],
)
def test_a_state_that_is_none_is_refused(damage):
    config = superposition_run()
    session, other = (
        ShelfSession(Superposition(config.model), objective_of(config), config.train, CPU) for _ in range(2)
    )
    state = session.state()
    other.restore(session.model, state)
    damage(state)
    with pytest.raises(InputError, match="this is not the state of a training run"):
        other.restore(session.model, state)


def test_a_line_is_learnt():
    model = nn.Linear(1, 1)
    result = train_model(model, line(), ShelfTrainConfig(steps=200, batch_size=5, learning_rate=0.1, optimizer="sgd"))
    assert result.held_out["loss"] < 1e-6
    assert model.weight.item() == pytest.approx(2, abs=1e-2)
    assert math.isclose(result.objective.measure(model, "training")["loss"], result.held_out["loss"])
