"""Units removed from nets whose important units are known, because their weights were set by hand."""

import math

import pytest
import torch
from torch import nn

from interp.ablation import Unit, unit_removal
from interp.ablation.matched_sets import matched_sets
from interp.errors import InputError
from interp.hooks import intervene
from interp.units import unit_responses
from tests.foreign_res_net import ForeignResNet
from toy_models.hook_point import HookPoint
from toy_models.vision import ConvNet, ConvNetConfig

POINT = "hook_post"
N_CLASSES, SPARE = 4, 12


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class Voting(nn.Module):
    """Unit c passes on whether the input is of class c, and is all that logit c reads; the spare units only vary."""

    def __init__(self, gain=6.0):
        super().__init__()
        self.hook_post = HookPoint("batch unit")
        self.read = nn.Linear(N_CLASSES + SPARE, N_CLASSES, bias=False)
        with torch.no_grad():
            self.read.weight.zero_()[:, :N_CLASSES] = gain * torch.eye(N_CLASSES)

    def forward(self, x):
        return self.read(self.hook_post(x))


def cases(n=80, spare_size=1.0):
    labels = torch.arange(n) % N_CLASSES
    spare = spare_size * torch.randn(n, SPARE, generator=seeded(1))
    return torch.cat([torch.eye(N_CLASSES)[labels], spare], dim=1), labels


def removed(units, model=None, inputs=None, **options):
    x, labels = inputs or cases()
    return unit_removal((model or Voting()).eval(), x, labels, {POINT: units}, seeded(), **{"controls": 40} | options)


def test_removing_the_unit_of_a_class_breaks_that_class_by_what_its_logit_says_and_no_other():
    found = removed([2], to="zero")
    before, after = (-torch.tensor(z).log_softmax(0)[0].item() for z in ([6.0, 0, 0, 0], [0.0, 0, 0, 0]))
    own = next(each for each in found.classes if each.label == 2)
    assert own.loss.mean == pytest.approx(after - before, abs=1e-6)
    assert [each.loss.mean for each in found.classes if each.label != 2] == pytest.approx([0, 0, 0], abs=1e-9)
    assert found.loss.mean == pytest.approx((after - before) / N_CLASSES, abs=1e-6)
    assert own.accuracy.mean == -1, "a tie goes to class 0"
    assert found.accuracy.mean == -0.25
    assert found.intact_accuracy.mean == 1
    assert found.intact_loss.mean == pytest.approx(before, abs=1e-6)


def test_the_mean_puts_a_quarter_of_the_vote_in_place_of_a_unit():
    after = [-torch.tensor(z).log_softmax(0)[0].item() for z in ([1.5, 0, 0, 0], [6.0, 1.5, 0, 0])]
    before = -torch.tensor([6.0, 0, 0, 0]).log_softmax(0)[0].item()
    found = removed([0], to="mean")
    assert [each.loss.mean for each in found.classes] == pytest.approx(
        [after[0] - before] + 3 * [after[1] - before], abs=1e-6
    )


def test_resampling_puts_another_inputs_value_in_place_so_that_the_units_mean_stays():
    seen = []
    model = Voting()
    with torch.no_grad(), intervene(model, {"read": lambda value: seen.append(value[:, 1].clone()) or value}):
        unit_removal(model.eval(), *cases(), {POINT: [1]}, seeded(), to="resample", controls=0)
    intact, resampled = seen[-2], seen[-1]
    assert torch.equal(intact.sort().values, resampled.sort().values)
    assert not torch.equal(intact, resampled)


def test_important_units_stand_out_from_random_sets_and_spare_ones_do_not():
    found = removed([0, 3])
    assert found.random.p_loss == pytest.approx(1 / 41)
    assert found.random.p_accuracy == pytest.approx(1 / 41)
    spare = removed([6, 9])
    assert spare.loss.mean == pytest.approx(0, abs=1e-9)
    assert spare.random.p_loss == 1


def test_matched_sets_are_as_large_as_the_named_one_where_random_ones_are_not():
    """Of twelve spare units eight vary as much as the class units (0.43), four hardly."""
    x, labels = cases(spare_size=0.01)
    x[:, -8:] = 0.43 * torch.randn(len(x), 8, generator=seeded(4))
    found = removed([0, 1, 2, 3], inputs=(x, labels), controls=60)
    assert float(found.matched.sizes.median()) == pytest.approx(1, abs=0.06)
    assert float(found.random.sizes.median()) < 0.9
    assert found.matched.p_loss < 0.05, "size alone is not what makes the class units matter"


def test_a_matched_set_takes_its_members_from_the_nearest_in_size_each_once_and_never_a_named_one():
    everything, sizes = list(range(30)), [float(i) for i in range(30)]
    sets = matched_sets([(everything, [10, 20])], sizes.__getitem__, 40, seeded())
    assert len(set(sets)) == len(sets)
    assert all(len(set(each)) == 2 and not set(each) & {10, 20} for each in sets)
    assert {member for each in sets for member in each} <= {*range(7, 14), *range(17, 24)}
    assert matched_sets([([0, 1, 2], [0, 1])], sizes.__getitem__, 5, seeded()) == []


def test_a_unit_stands_out_from_random_sets_but_not_from_equally_large_ones_that_matter_as_much():
    """Its mean, which stays, says more than that of the three other class units, the only ones as large."""
    model = Voting()
    with torch.no_grad():
        model.read.weight[1, 1] = 8
    found = removed([1], model=model, inputs=cases(spare_size=0.0), controls=100)
    assert found.random.p_loss == 4 / 16
    assert found.matched.p_loss == 4 / 6
    assert found.matched.sizes.sort().values.tolist() == pytest.approx([0, 0, 1, 1, 1])


def test_a_class_that_is_hit_stands_out_among_the_hardest_hit_class_of_every_random_set():
    """Each class unit breaks its own class, spare units, which vote a little, none."""
    model = Voting()
    with torch.no_grad():
        model.read.weight[:, N_CLASSES:] = 0.3 * torch.randn(N_CLASSES, SPARE, generator=seeded(3))
    by_label = {each.label: each for each in removed([1], model=model, controls=100).classes}
    assert by_label[1].p == by_label[1].p_any == pytest.approx(1 / 16)
    assert by_label[2].p == 2 / 16, "by itself class 2 is hit more than by all sets but the unit of class 2"
    assert [by_label[label].p_any for label in (0, 2, 3)] == [4 / 16] * 3, "three units hit some class as much"


def test_effects_alone_and_the_number_of_sets_are_given():
    found = removed([5, 0])
    assert found.units == (Unit(POINT, 0), Unit(POINT, 5))
    assert found.alone[0].mean == pytest.approx(found.loss.mean)
    assert found.alone[1].mean == pytest.approx(0, abs=1e-9)
    assert len(found.random) == 40
    assert removed([0], controls=0).random is None
    assert len(removed([0], controls=1000).random) == N_CLASSES + SPARE - 1


def test_the_p_values_of_units_that_matter_no_more_than_others_are_spread_evenly():
    def p(seed):
        model = Voting()
        with torch.no_grad():
            model.read.weight.copy_(torch.randn(model.read.weight.shape, generator=seeded(seed)))
        return removed([4, 5], model=model, controls=9, inputs=cases(8)).random.p_loss

    values = torch.tensor([p(seed) for seed in range(12)])
    assert 0.35 < float(values.mean()) < 0.75, "0.55 is expected"
    assert int((values <= 0.1).sum()) <= 5, "1 is expected"


def test_other_losses_and_classes_of_their_own_can_be_given():
    x, labels = cases()
    targets = x[:, :N_CLASSES] * 6
    loss = lambda output, wanted: (output - wanted).square().sum(1)  # noqa: E731
    found = unit_removal(
        Voting().eval(), x, targets, {POINT: [3]}, seeded(), loss=loss, classes=labels, to="zero", controls=5
    )
    assert found.loss.mean == pytest.approx(36 / 4)
    assert [each.loss.mean for each in found.classes] == pytest.approx([0, 0, 0, 36])
    assert (found.accuracy, found.intact_accuracy, found.random.p_accuracy) == (None, None, None)


def test_filters_of_an_image_net_are_removed_at_every_pixel():
    net = ConvNet(ConvNetConfig(widths=(4, 6)), seeded()).eval()
    images, labels = torch.rand(40, 1, 8, 8, generator=seeded(1)), torch.arange(40) % 10
    name = "blocks.1.layer.hook_post"
    found = unit_removal(net, images, labels, {name: [2]}, seeded(), to="mean", controls=0, batch_size=7)
    mean = float(unit_responses(net, images, seeded(), name)[name].mean.mean[2])

    def by_hand(value):
        value[:, 2] = mean
        return value

    with torch.no_grad():
        intact = nn.functional.cross_entropy(net(images), labels)
        with intervene(net, {name: by_hand}):
            without = nn.functional.cross_entropy(net(images), labels)
    assert found.loss.mean == pytest.approx(float(without - intact), abs=1e-6)


def test_a_foreign_net_is_ablated_by_the_path_of_a_module():
    net, axes = ForeignResNet(seeded()).eval(), {"layer2.0": "batch unit y x"}
    images, labels = torch.rand(20, 1, 8, 8, generator=seeded(1)), torch.arange(20) % 3
    found = unit_removal(net, images, labels, {"layer2.0": range(8)}, seeded(), to="zero", controls=0, axes=axes)
    alone = net.fc.bias.detach().log_softmax(0)[labels]
    assert found.loss.mean + found.intact_loss.mean == pytest.approx(float(-alone.mean()), abs=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"units": {POINT: [99]}}, "hook_post has units 0 to 15, there is no unit 99"),
        ({"units": {"hook_pots": [1]}}, "'hook_pots' is not in this model; did you mean hook_post"),
        ({"units": {POINT: []}}, "name at least one unit"),
        ({"labels": torch.zeros(3).long()}, "inputs and targets must be as many, got 80 and 3"),
        ({"labels": torch.zeros(80)}, "need a loss"),
        ({"labels": torch.full((80,), 4)}, r"class numbers up to 4 need logits \[n class\], the model gives \[80, 4\]"),
        ({"x": torch.full((80, 16), math.nan)}, "1280 of 1280 numbers of the inputs are NaN"),
        ({"controls": -1}, "controls must be 0 or more"),
        ({"loss": lambda output, targets: output.sum()}, r"one number for each of 80 inputs, got \[\]"),
        ({"classes": torch.zeros(2).long()}, "classes must be as many as inputs, got 2 and 80"),
        ({"train": True}, "the model is in training mode"),
    ],
)
def test_bad_input_is_one_clear_line(change, message):
    x, labels = cases()
    model = Voting().train(change.pop("train", False))
    given = {"units": {POINT: [1]}, "x": x, "labels": labels} | change
    with pytest.raises(InputError, match=message):
        unit_removal(model, given.pop("x"), given.pop("labels"), given.pop("units"), seeded(), **given)
