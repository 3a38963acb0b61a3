"""Figures about units: what is drawn is what was given."""

import numpy as np
import pytest
import torch

from interp.errors import InputError
from interp.plots.controls import among_controls, class_effects
from interp.plots.images import image_rows
from interp.plots.layers import Panel, layer_panels
from interp.stats import Estimate, Estimates


def estimates(*means):
    mean = torch.tensor(means)
    return Estimates(mean, mean - 0.1, mean + 0.2, 10, 0.95, "given")


def drawn(axes):
    """Where marks are, and where lines of intervals begin and end."""
    points, lines = [], []
    for collection in axes.collections:
        if hasattr(collection, "get_segments"):
            lines += [segment.tolist() for segment in collection.get_segments()]
        else:
            points.append(collection.get_offsets().tolist())
    return points, lines


def test_layers_go_down_with_a_mark_for_each_series_and_intervals_as_lines():
    panel = Panel("std", {"trained": estimates(1.0, 2.0), "untrained": torch.tensor([3.0, 4.0])}, limits=(0, 5))
    figure = layer_panels(["first", "second"], [panel, Panel("dead", {"untrained": torch.zeros(2)})], title="t")
    left, right = figure.axes
    points, lines = drawn(left)
    assert np.allclose(points, [[[1, 0], [2, 1]], [[3, 0], [4, 1]]])
    assert np.allclose(lines, [[[0.9, 0], [1.2, 0]], [[1.9, 1], [2.2, 1]]])
    assert left.get_ylim()[0] > left.get_ylim()[1]
    assert [text.get_text() for text in left.get_yticklabels()] == ["first", "second"]
    assert left.get_xlim() == (0, 5)
    colors = [collection.get_edgecolor()[0].tolist() for collection in (left.collections[-1], right.collections[-1])]
    assert colors[0] == colors[1], "a series has the same colour in all panels"


def test_a_logarithmic_panel_leaves_out_what_is_not_above_zero_and_any_panel_what_is_not_a_number():
    values = torch.tensor([0.0, 10.0, torch.nan])
    figure = layer_panels(list("abc"), [Panel("norm", {"x": values}, log=True), Panel("r", {"x": values})], title="t")
    assert [drawn(axes)[0] for axes in figure.axes] == [[[[10, 1]]], [[[0, 0], [10, 1]]]]
    assert figure.axes[0].get_xscale() == "log"


def test_a_logarithmic_panel_goes_from_one_power_of_ten_to_another_and_names_only_these():
    panel = Panel("norm", {"x": torch.tensor([0.2, 0.5])}, log=True)
    (axes,) = layer_panels(["a", "b"], [panel], title="t").axes
    assert np.allclose(axes.get_xlim(), (0.1, 1.0))
    axes.figure.canvas.draw()
    assert {text.get_text() for text in axes.get_xticklabels(minor=True)} == {""}


def test_images_are_drawn_between_the_limits_with_their_captions_and_empty_places():
    grey = torch.tensor([[[0.0, 2.0], [1.0, 0.5]]])
    figure = image_rows(
        [[grey, None], [grey, 2 - grey]],
        ["a", "b"],
        ["one", "two"],
        [["1.00", ""], ["2", "3"]],
        limits=(0, 2),
        title="t",
    )
    pixels = [axes.get_images()[0].get_array() if axes.get_images() else None for axes in figure.axes]
    assert np.allclose(pixels[0], grey[0] / 2)
    assert pixels[1] is None
    assert np.allclose(pixels[3], 1 - grey[0] / 2)
    assert (figure.axes[0].get_images()[0].norm.vmin, figure.axes[0].get_images()[0].norm.vmax) == (0, 1)
    assert [axes.get_title() for axes in figure.axes] == ["one", "two", "", ""]
    assert [axes.get_xlabel() for axes in figure.axes] == ["1.00", "", "2", "3"]
    assert [axes.get_ylabel() for axes in figure.axes] == ["a", "", "b", ""]


def test_strips_take_less_room_than_images():
    heights = [
        image_rows([[torch.zeros(shape)]] * 4, list("abcd"), ["x"], limits=(0, 1), title="t").get_figheight()
        for shape in ((1, 5, 5), (1, 1, 5))
    ]
    assert heights[1] < 0.6 * heights[0]


def test_images_in_colour_keep_their_channels():
    colour = torch.linspace(0, 1, 12).view(3, 2, 2)
    axes = image_rows([[colour]], ["a"], ["one"], limits=(0, 1), title="t").axes[0]
    assert np.allclose(axes.get_images()[0].get_array(), colour.permute(1, 2, 0))


EFFECT = Estimate(0.5, 0.3, 0.8, 10, 0.95, "given")


def test_the_named_units_are_a_line_with_a_band_among_the_counts_of_other_sets():
    random = torch.tensor([0.0, 0.0, 0.1, 0.9])
    figure = among_controls(EFFECT, {"random": random, "matched": random[:2]}, title="t", label="loss")
    for axes, n in zip(figure.axes, (4, 2), strict=True):
        bars, band = axes.patches[:-1], axes.patches[-1]
        assert sum(bar.get_height() for bar in bars) == n
        assert (band.get_x(), band.get_x() + band.get_width()) == pytest.approx((0.3, 0.8))
        assert axes.lines[-1].get_xdata()[0] == 0.5
    assert [axes.get_legend().get_texts()[0].get_text() for axes in figure.axes] == ["4 random sets", "2 matched sets"]


def test_effects_by_class_stand_beside_what_random_sets_do_to_the_class():
    figure = class_effects(["a", "b"], [EFFECT, EFFECT], [(0.1, 0.4), (-0.2, 0.0)], title="t", label="loss")
    random, named = figure.axes[0].containers
    assert [(bar.get_y(), bar.get_height()) for bar in random] == [
        pytest.approx((0.1, 0.3)),
        pytest.approx((-0.2, 0.2)),
    ]
    assert [bar.get_height() for bar in named] == [0.5, 0.5]
    assert len(class_effects(["a"], [EFFECT], title="t", label="loss").axes[0].containers) == 1


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: layer_panels([], [], title="t"), "needed: a line, a panel"),
        (
            lambda: layer_panels(["a"], [Panel("x", {"s": torch.zeros(2)})], title="t"),
            "1 values of s are needed, got 2",
        ),
        (lambda: image_rows([], [], [], limits=(0, 1), title="t"), "needed: a row of images"),
        (lambda: image_rows([[None]], ["a"], ["b"], limits=(1, 1), title="t"), "limits that ascend"),
        (lambda: image_rows([[torch.zeros(2, 1, 1)]], ["a"], ["b"], limits=(0, 1), title="t"), "1 channel"),
        (lambda: among_controls(EFFECT, {}, title="t", label="l"), "needed: sets to compare with"),
        (lambda: class_effects([], [], title="t", label="l"), "there is no class"),
        (lambda: class_effects(["a"], [], title="t", label="l"), "1 effects are needed, got 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw, message):
    with pytest.raises(InputError, match=message):
        draw()
