"""What the nets of the normalisation claims are trained and measured with; one short training shows the direction."""

import pytest
import torch

from analyses.claims.experiments.normalisation_below import point_anywhere
from analyses.claims.experiments.normalisation_nets import Watch, five_layers, jolt, noise_after_norm, start
from analyses.claims.experiments.vector_training import split_digits
from interp.hooks import record
from toy_models.mlp import MLP
from toy_models.vector_config import MLPConfig


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def five(activation="sigmoid", norm="none", **more):
    return MLP(MLPConfig(widths=(16,) * 3, activation=activation, norm=norm, **more), seeded())


@pytest.fixture(scope="module")
def data():
    return split_digits(0, 200, "cpu")


def test_noise_scales_and_shifts_each_unit_alike_for_all_inputs_and_anew_each_time():
    model = five(norm="batch").train()
    edit, x = jolt(model, 1.0, seeded(3)), torch.randn(6, 4, generator=seeded(1))
    generator = seeded(3)
    scale, shift = torch.randn(4, generator=generator), torch.randn(4, generator=generator)
    assert torch.allclose(edit(x), x * scale.exp() + shift)
    assert not torch.allclose(edit(x), x * scale.exp() + shift)
    model.eval()
    assert edit(x) is x


def test_noise_moves_what_the_activations_read_and_is_gone_afterwards(data):
    training, _ = data
    model = five(norm="batch").train()
    names = "blocks.*.hook_norm"
    still = record(model, training.images, names=names)
    with noise_after_norm(model, 1.0, seeded()):
        moved = record(model, training.images, names=names)
    after = record(model, training.images, names=names)
    for name in still:
        assert float(still[name].mean(0).abs().max()) < 1e-5
        assert float(moved[name].mean(0).abs().max()) > 0.5
        assert torch.equal(after[name], still[name])


def test_large_weights_saturate_sigmoids_and_batch_norm_takes_their_size_out(data):
    training, _ = data
    plain, large = (start(five(init_scale=s), training, "sigmoid", 0)["saturated at first"] for s in (0.1, 300.0))
    assert plain == 0
    assert large > 0.95
    small, big = (
        start(five(norm="batch", init_scale=s), training, "sigmoid", 0)["saturated at first"] for s in (1.0, 300.0)
    )
    assert big == pytest.approx(small, abs=0.01)


def test_watch_sees_no_drift_in_a_model_that_stands_still_and_the_shift_of_one_that_moves(data):
    training, test = data
    model = five("relu")
    watch = Watch(model, training, test, 4 / 440)
    for step in range(1, 5):
        watch(step)
    row = watch.row()
    assert watch.steps == 4
    assert row["drift"] == row["drift of one update"] == 0
    assert row["step"] == [4.0]
    assert row["accuracy"] == row["average accuracy"] == row["accuracy by step"][0]
    with torch.no_grad():
        model.blocks[0].linear.bias += 1
    watch(8)
    assert watch.row()["drift"] > 0


def test_random_directions_keep_the_size_of_each_gradient():
    model = five("relu")
    model(torch.rand(5, 64, generator=seeded(1))).square().sum().backward()
    parameters = list(model.parameters())
    before = [p.grad.clone() for p in parameters]
    point_anywhere(parameters, seeded(2))
    for p, old in zip(parameters, before, strict=True):
        assert float(p.grad.norm()) == pytest.approx(float(old.norm()), rel=1e-5)
        if p.numel() > 100:
            assert abs(float(torch.cosine_similarity(p.grad.flatten(), old.flatten(), dim=0))) < 0.3


def test_deep_sigmoids_learn_with_batch_norm_and_not_without():
    found = {norm: five_layers(5, "cpu", 0.15, "sigmoid", norm)["accuracy"] for norm in ("none", "batch")}
    assert found["none"] < 0.2
    assert found["batch"] > 0.7
