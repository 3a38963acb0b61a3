"""Inputs that drive units: known for units whose weights are set by hand."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from interp.errors import InputError
from interp.units import Maximised, maximise_units
from toy_models.hook_point import HookPoint
from toy_models.vision import ConvNet, ConvNetConfig


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class Templates(nn.Module):
    """Unit u responds by relu(x · t_u)."""

    def __init__(self, templates):
        super().__init__()
        self.templates = nn.Parameter(templates)
        self.hook_post = HookPoint("batch unit")

    def forward(self, x):
        return self.hook_post(torch.relu(x.flatten(1) @ self.templates.T))


TEMPLATES = torch.tensor([[1.0, -1, 0, 2], [-1, 1, 1, 0], [0.0, 0, -1, 3]])
INPUTS = torch.rand(20, 4, generator=seeded(1))


def test_the_image_of_a_linear_unit_is_at_the_ends_of_the_range_where_its_weights_say():
    found = maximise_units(Templates(TEMPLATES).eval(), INPUTS, "hook_post", seeded(), decay=0.0)
    low, high = INPUTS.min(), INPUTS.max()
    for template, image, response in zip(TEMPLATES, found.images, found.response, strict=True):
        assert torch.allclose(image[template > 0], high)
        assert torch.allclose(image[template < 0], low)
        assert float(response) == pytest.approx(
            float(template.clamp(min=0).sum() * high + template.clamp(max=0).sum() * low)
        )
    real = torch.relu(INPUTS @ TEMPLATES.T).amax(0).double()
    assert torch.allclose(found.best_real, real)
    assert (found.ratio >= 1).all()
    assert found.own.all(), "each image is the best of all that the range allows"


def test_a_unit_whose_image_drives_a_stronger_twin_more_keeps_its_own_image():
    """The image of unit 1 = 2 x unit 0 is the same: each unit's own image is as good as the other's."""
    twins = torch.stack([TEMPLATES[0], 2 * TEMPLATES[0]])
    found = maximise_units(Templates(twins).eval(), INPUTS, "hook_post", seeded(), decay=0.0)
    assert float(found.response[1]) == pytest.approx(2 * float(found.response[0]), rel=1e-5)


def test_a_unit_owns_its_image_even_if_that_image_drives_another_unit_further():
    pair = torch.tensor([[1.0, -1, 0, 0], [3, -3, 0.5, 0]])
    found = maximise_units(Templates(pair).eval(), INPUTS, "hook_post", seeded(), decay=0.0)
    assert found.own.tolist() == [True, True]


def test_two_units_without_room_to_differ_do_not_both_own_an_image():
    """With one pixel both units are driven most by the same input, so only one image can be the argmax for both."""
    found = maximise_units(Templates(torch.tensor([[1.0], [2.0]])).eval(), INPUTS[:, :1], "hook_post", seeded())
    assert found.own.double().mean() == 0.5


def test_the_pull_towards_the_mean_input_makes_images_less_extreme():
    free, pulled = (
        maximise_units(Templates(TEMPLATES).eval(), INPUTS, "hook_post", seeded(), decay=d, steps=300)
        for d in (0.0, 0.5)
    )
    assert (pulled.images - INPUTS.mean(0)).norm() < 0.5 * (free.images - INPUTS.mean(0)).norm()


def test_pixels_stay_in_the_range_of_the_inputs_and_units_can_be_chosen():
    net = ConvNet(ConvNetConfig(widths=(3, 4)), seeded()).eval()
    images = 0.2 + 0.5 * torch.rand(10, 1, 8, 8, generator=seeded(1))
    found = maximise_units(net, images, "blocks.1.layer.hook_post", seeded(), units=(3, 1), steps=30)
    assert found.units == (3, 1)
    assert found.images.shape == (2, 1, 8, 8)
    assert float(found.images.min()) >= float(images.min())
    assert float(found.images.max()) <= float(images.max())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_against_the_same_net_there_is_no_difference_and_a_scaled_net_drives_no_further():
    plain, scaled = (
        maximise_units(Templates(k * TEMPLATES).eval(), INPUTS, "hook_post", seeded(), steps=50) for k in (1, 7)
    )
    assert {name: each.mean for name, each in plain.against(plain, seeded()).items()} == {
        "log ratio": 0,
        "own image": 0,
    }
    found = plain.against(scaled, seeded())["log ratio"]
    assert found.mean == pytest.approx(0, abs=1e-5), "both numbers scale"
    assert found.low < 0 < found.high


class Rare(Templates):
    """Units that respond only to what lies far from the mean input."""

    def forward(self, x):
        return self.hook_post(torch.relu(x.flatten(1) @ self.templates.T - 0.75))


def test_a_unit_that_is_silent_around_the_mean_input_is_driven_from_its_best_real_one():
    templates = torch.cat([torch.eye(4)[:2], 3 * torch.eye(4)[2:]])
    found = maximise_units(Rare(templates).eval(), INPUTS, "hook_post", seeded(), decay=0.0)
    assert found.silent.tolist() == [True, True, False, False]
    assert (found.best_real > 0).all()
    highest = INPUTS.max().double()
    assert torch.allclose(found.response, templates.sum(1).double() * highest - 0.75, atol=1e-5)


def known(ratios, own):
    """As if so many units had these ratios."""
    n = len(ratios)
    return Maximised(
        "hook_post",
        tuple(range(n)),
        torch.zeros(n, 4),
        torch.tensor(ratios),
        torch.ones(n),
        torch.tensor(own),
        1,
        torch.zeros(n).bool(),
    )


def test_the_difference_to_the_untrained_net_is_that_of_medians_and_shares_with_an_interval_over_units():
    trained = known([8.0, 4.0, 4.0, 4.0, 2.0], [True, True, True, False, True])
    untrained = known([1.0, 2.0, 2.0, 2.0, 4.0], [False, True, False, False, False])
    found = trained.against(untrained, seeded(), draws=4000)
    assert found["log ratio"].mean == pytest.approx(math.log(2))
    assert found["own image"].mean == pytest.approx(0.8 - 0.2)
    draws = torch.rand(4000, 2, 5, generator=seeded(2)).lt(torch.tensor([0.8, 0.2])[:, None]).double().mean(2)
    expected = (draws[:, 0] - draws[:, 1]).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64))
    assert [found["own image"].low, found["own image"].high] == pytest.approx(expected.tolist(), abs=0.21)
    assert found["log ratio"].low <= 0, "two of five resampled medians may be equal"


def test_a_net_without_a_unit_that_responds_is_refused():
    silent = replace(known([1.0], [True]), best_real=torch.zeros(1))
    with pytest.raises(InputError, match="at hook_post no unit of one of the nets responds"):
        known([1.0], [True]).against(silent, seeded())


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        (INPUTS[:1], {}, "needs at least 2 inputs, got 1"),
        (torch.ones(3, 4), {}, r"inputs must be finite and vary, they lie in \[1.0, 1.0\]"),
        (INPUTS / 0, {}, "inputs must be finite and vary"),
        (INPUTS, {"units": (3,)}, r"hook_post has units 0 to 2, asked for \[3\]"),
        (INPUTS, {"units": ()}, r"asked for \[\]"),
    ],
)
def test_bad_input_is_one_clear_line(inputs, options, message):
    with pytest.raises(InputError, match=message):
        maximise_units(Templates(TEMPLATES).eval(), inputs, "hook_post", seeded(), **options)
