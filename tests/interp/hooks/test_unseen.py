"""What hooks cannot see: known for nets written to hide it, nothing for a net whose every value passes a module."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from interp.errors import InputError
from interp.hooks import record, unseen_operations
from interp.units import maximise_units, unit_responses
from tests.foreign_res_net import ForeignResNet
from toy_models.vision import ConvNet, ConvNetConfig, ResNet, ResNetConfig

IMAGES = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def named(operations):
    return [(each.name, each.module, each.times) for each in operations]


@pytest.fixture(scope="module")
def net():
    return ForeignResNet(seeded()).eval()


def test_of_a_residual_net_with_functional_rectifiers_every_hidden_operation_is_named(net):
    found = unseen_operations(net, IMAGES)
    assert named(found.unseen) == [
        ("relu", "", 1),
        ("relu", "layer1.0", 1),
        ("add", "layer1.0", 1),
        ("relu", "layer2.0", 1),
        ("add", "layer2.0", 1),
        ("adaptive_avg_pool2d", "", 1),
        ("flatten", "", 1),
    ]
    assert named(found.computed) == [each for each in named(found.unseen) if each[0] != "flatten"]


def test_the_last_rectifier_of_a_block_is_the_blocks_output_and_so_is_seen(net):
    names = [each.module for each in unseen_operations(net, IMAGES).unseen if each.name == "relu"]
    assert names.count("layer1.0") == 1, "of its two"
    run = record(net, IMAGES, names=["layer1.0", "layer1.0.bn2"])
    assert float(run["layer1.0"].min()) == 0 > float(run["layer1.0.bn2"].min())


def test_an_addition_in_place_is_named_with_the_module_whose_output_it_overwrites(net):
    found = unseen_operations(net, IMAGES).in_place
    assert [(each.name, each.module, each.overwrites) for each in found] == [
        ("add", "layer1.0", ("layer1.0.bn2",)),
        ("add", "layer2.0", ("layer2.0.bn2",)),
    ]
    assert str(found[0]) == "add in layer1.0 (6 x 4 x 8 x 8), into the output of layer1.0.bn2"


def test_values_that_are_overwritten_are_recorded_as_they_were(net):
    """bn2's output is what batch normalisation gives, not the sum that was written over it."""
    run = record(net, IMAGES, names="layer1.0.*")
    assert torch.equal(run["layer1.0.bn2"], net.layer1[0].bn2(run["layer1.0.conv2"]))


def test_units_of_the_foreign_net_are_measured_and_maximised_by_the_path_of_its_modules(net):
    axes = {"layer1.0": "batch unit y x"}
    block = unit_responses(net, IMAGES, seeded(), "layer1.0", axes=axes)["layer1.0"]
    values = record(net, IMAGES, names="layer1.0")["layer1.0"].double()
    assert torch.allclose(block.mean.mean, values.mean((0, 2, 3)))
    assert torch.equal(block.dead, (values <= 0).all(0).all(-1).all(-1))
    found = maximise_units(net, IMAGES, "layer1.0", seeded(), axes=axes, steps=20)
    assert (found.response > 1.2 * found.best_real).all()


def test_a_net_whose_every_value_passes_a_hook_point_has_nothing_to_hide():
    for shortcut in ("B", "C"):
        plain = ResNet(ResNetConfig(depth=8, shortcut=shortcut, norm="none"), seeded()).eval()
        found = unseen_operations(plain, IMAGES)
        assert (found.unseen, found.in_place, found.reused) == ((), (), {})
        assert found.seen > 20
    assert unseen_operations(ConvNet(ConvNetConfig(), seeded()).eval(), IMAGES).unseen == ()


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU(inplace=True)
        self.first, self.second, self.spare = (nn.Linear(4, 4) for _ in range(3))

    def forward(self, x):
        return self.relu(self.second(self.relu(self.first(x)))).view(-1, 2, 2)


def test_a_module_that_runs_twice_and_one_that_never_runs_are_named():
    found = unseen_operations(Shared(), torch.rand(3, 4))
    assert found.reused == {"relu": 2}
    assert found.silent == ("spare",)
    assert [each.overwrites for each in found.in_place] == [("first",), ("second",)]
    assert found.unseen == (), "the view is the model's output"


class Writing(nn.Module):
    """Writes into a view of its layer's output."""

    def __init__(self):
        super().__init__()
        self.layer, self.last = nn.Linear(4, 4), nn.Identity()

    def forward(self, x):
        out = self.layer(x)
        out.view(-1, 2)[:, 0] = 0
        weight = self.layer.weight * 2
        chosen = torch.where(out > 0, out, torch.zeros(()))
        return self.last(F.linear(chosen, weight))


def test_writing_into_a_view_counts_and_what_does_not_depend_on_the_input_does_not():
    found = unseen_operations(Writing(), torch.rand(3, 4))
    assert [(each.name, each.overwrites) for each in found.in_place] == [("setitem", ("layer",))]
    assert [each.name for each in found.computed] == ["setitem", "where"]
    assert [each.name for each in found.unseen if each.view] == ["view"]


def test_nothing_is_left_behind_and_the_model_learns_nothing(net):
    trained = ForeignResNet(seeded()).train()
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in trained.modules()]
    unseen_operations(trained, IMAGES)
    assert all(torch.equal(value, before[name]) for name, value in trained.state_dict().items())
    assert [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in trained.modules()] == hooks
    assert trained.training


def test_hooks_go_also_after_a_model_that_fails(net):
    with pytest.raises(RuntimeError):
        unseen_operations(net, torch.rand(2, 3, 8, 8))
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in net.modules())


def test_inputs_that_cannot_be_followed_are_refused(net):
    with pytest.raises(InputError, match="follows floating-point inputs through the model, got none"):
        unseen_operations(net, torch.zeros(2, 1, 8, 8, dtype=torch.long))


def test_what_was_found_can_be_read_and_stored(net):
    found = unseen_operations(net, IMAGES)
    lines = str(found).splitlines()
    assert lines[0] == "no module gives out: relu in the model itself (6 x 4 x 8 x 8)"
    assert "in place: add in layer2.0 (6 x 8 x 4 x 4), into the output of layer2.0.bn2" in lines
    assert found.to_dict()["unseen"][2]["name"] == "add"
    assert str(unseen_operations(nn.ReLU(), IMAGES)) == "hooks see every value"
