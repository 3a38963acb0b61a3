"""Figures of arms and seeds: what is drawn is what was measured."""

import numpy as np
import pytest

from interp.errors import InputError
from interp.plots import Effect, Errors, curves_by_arm, paired_effects, png_bytes, points_by_arm

X = [1.0, 2.0, 4.0]
CURVES = {"plain": [(X, [3.0, 2.0, 1.0]), (X, [5.0, 4.0, 3.0])], "other": [(X, [1.0, 1.0, 1.0])]}


def lines_of(axes, width=None):
    return [list(line.get_ydata()) for line in axes.lines if width is None or line.get_linewidth() == width]


def test_seeds_are_thin_and_their_mean_is_thick():
    axes = curves_by_arm(CURVES, x_label="step", y_label="loss").axes[0]
    assert lines_of(axes, 0.9) == [[3.0, 2.0, 1.0], [5.0, 4.0, 3.0], [1.0, 1.0, 1.0]]
    assert lines_of(axes, 2.2) == [[4.0, 3.0, 2.0]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["plain", "other"]


def test_seeds_with_other_x_have_no_mean():
    axes = curves_by_arm({"a": [(X, X), (X[:2], X[:2])]}, x_label="step", y_label="loss").axes[0]
    assert lines_of(axes, 2.2) == []
    assert len(axes.get_legend().get_texts()) == 1


def test_a_logarithmic_axis_of_values_that_reach_zero_is_linear_around_it():
    axes = curves_by_arm(CURVES, x_label="x", y_label="y", log_x=True, log_y=True).axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    axes = curves_by_arm({"a": [(X, [1.0, 0.0, 2.0])]}, x_label="x", y_label="y", log_y=True).axes[0]
    assert axes.get_yscale() == "symlog"


def test_points_stand_above_their_arm_with_the_mean_as_a_bar_and_seeds_joined():
    axes = points_by_arm({"plain": [1.0, 3.0], "residual": [5.0, 7.0]}, y_label="accuracy").axes[0]
    points, bars = axes.collections[::2], axes.collections[1::2]
    assert [each.get_offsets().tolist() for each in points] == [[[0, 1], [0, 3]], [[1, 5], [1, 7]]]
    assert [each.get_segments()[0][0][1] for each in bars] == [2.0, 6.0]
    assert lines_of(axes) == [[1.0, 5.0], [3.0, 7.0]]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["plain", "residual"]


def region_of(axes):
    return axes.patches[0].get_x(), axes.patches[0].get_x() + axes.patches[0].get_width()


def test_the_region_where_a_claim_holds_begins_at_the_margin_or_lies_around_zero():
    greater = Effect("deep", (1.0, 2.0), 1.5, (0.5, 2.5), 0.8, "greater")
    alike = Effect("shallow", (0.1, 0.2), 0.15, (0.0, 0.3), 0.8, "equivalent")
    above, around = paired_effects([greater, alike]).axes
    assert region_of(above) == (0.8, pytest.approx(above.get_xlim()[1]))
    assert region_of(around) == pytest.approx((-0.8, 0.8))
    zero, interval, mean, seeds = above.lines
    assert (list(interval.get_xdata()), list(mean.get_xdata()), list(seeds.get_xdata())) == ([0.5, 2.5], [1.5], [1, 2])
    assert zero.get_xdata() == [0, 0]


def test_errors_lie_by_size_with_zero_and_infinity_inside_the_frame():
    axes = paired_effects([Errors("identity", (0.0, 1e-12), (0.1, np.inf), 1e-9)]).axes[0]
    low, high = axes.get_xlim()
    right, wrong = (list(line.get_xdata()) for line in axes.lines)
    assert axes.get_xscale() == "log"
    assert low < right[0] < right[1] == 1e-12 < 1e-9 == pytest.approx(region_of(axes)[1])
    assert 0.1 == wrong[0] < wrong[1] < high


def test_errors_that_have_to_be_zero_lie_in_the_region_when_they_are():
    axes = paired_effects([Errors("identity", (0.0,), (1.0,), 0.0)]).axes[0]
    low, high = region_of(axes)
    right, wrong = (list(line.get_xdata()) for line in axes.lines)
    assert low < right[0] < high < wrong[0]


def test_values_that_are_not_finite_are_counted_instead_of_drawn():
    axes = paired_effects([Effect("deep", (1.0, np.nan), None, None, 0.5, "greater")]).axes[0]
    assert [text.get_text() for text in axes.texts] == ["1 not finite"]
    assert len(axes.lines) == 2


def test_every_figure_becomes_a_picture_also_with_words_that_could_be_formulas():
    odd = {"a $x_1$ <b>" * 9: [(X, X)], "b": [(X, X)]}
    for figure in (
        curves_by_arm(odd, x_label="$x$", y_label="_y_"),
        points_by_arm({name: [1.0] for name in odd}, y_label="$y"),
        paired_effects([Effect("$x_1$ " * 30, (1.0,), None, None, 0.5, "greater")]),
    ):
        assert png_bytes(figure, 50).startswith(b"\x89PNG")


def test_nothing_to_draw_is_refused():
    with pytest.raises(InputError, match="at least one seed to draw, got none for a"):
        curves_by_arm({"a": []}, x_label="x", y_label="y")
    with pytest.raises(InputError, match="at least one seed"):
        points_by_arm({}, y_label="y")
    with pytest.raises(InputError, match="no comparison to draw"):
        paired_effects([])
    with pytest.raises(InputError, match="x and y of every seed of a"):
        curves_by_arm({"a": [(X, X[:1])]}, x_label="x", y_label="y")
