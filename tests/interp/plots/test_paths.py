"""The waterfall and the signed bars carry the numbers that were passed, with their intervals."""

import io
import math

import pytest
from matplotlib.colors import to_hex
from PIL import Image

from interp.errors import InputError
from interp.plots import png_bytes, signed_bars, waterfall
from interp.plots.drawing import COLORS
from interp.stats import Estimate

STEPS = [Estimate(-3.0, -3.25, -2.5, 32, 0.95, "b"), Estimate(0.5, 0.25, 0.75, 32, 0.95, "b")]
NAMES = ["uniform", "direct", "single heads", "model"]
PARTS = {"L0H0": Estimate(0.25, 0.0, 0.5, 32, 0.95, "b"), "L1H0": Estimate(-2.0, -2.5, -1.5, 32, 0.95, "b")}
ONE = Estimate(0.125, math.nan, math.nan, 1, 0.95, "one sequence")


def ticks(axes, which):
    return [label.get_text() for label in (axes.get_xticklabels() if which == "x" else axes.get_yticklabels())]


def texts(axes):
    return [text.get_text() for text in axes.texts]


def columns(axes):
    """(bottom, top) of every upright bar, in order."""
    return [(bar.get_y(), bar.get_y() + bar.get_height()) for bar in axes.patches]


def rows(axes):
    """(row, length, colour) of every lying bar."""
    return [(round(b.get_y() + b.get_height() / 2), b.get_width(), to_hex(b.get_facecolor())) for b in axes.patches]


def across(axes):
    """Ends of the intervals across, in order."""
    return [segment[:, 0].tolist() for lines in axes.collections for segment in lines.get_segments()]


def diamonds(axes):
    return [line.get_xdata().tolist() for line in axes.lines if line.get_marker() == "D"]


def test_each_step_of_a_waterfall_hangs_where_the_one_before_it_ended():
    axes = waterfall(4.0, STEPS, NAMES, title="t").axes[0]
    assert columns(axes) == [(0, 4), (4, 1), (1, 1.5), (0, 1.5)]
    assert texts(axes) == ["4.00", "−3.00", "+0.50", "1.50"]
    assert ticks(axes, "x") == ["uniform", "direct", "single\nheads", "model"]


def test_a_steps_interval_stands_at_its_end():
    axes = waterfall(4.0, STEPS, NAMES, title="t").axes[0]
    ends = [segment[:, 1].tolist() for lines in axes.collections for segment in lines.get_segments()]
    assert ends == [[0.75, 1.5], [1.25, 1.75]]


def test_falls_and_rises_have_the_colours_of_their_sign_and_levels_have_none():
    axes = waterfall(4.0, STEPS, NAMES, title="t").axes[0]
    colors = [to_hex(bar.get_facecolor()) for bar in axes.patches]
    assert colors == ["#999999", COLORS[1].lower(), COLORS[0].lower(), "#999999"]


def test_a_waterfall_splits_its_steps_in_a_panel_of_its_own():
    left, right = waterfall(4.0, STEPS, NAMES, parts=PARTS, parts_label="nats", title="t").axes
    assert columns(left)[-1] == (0, 1.5)
    assert rows(right) == [(0, 0.25, COLORS[0].lower()), (1, -2.0, COLORS[1].lower())]
    assert across(right) == [[0.0, 0.5], [-2.5, -1.5]]
    assert (ticks(right, "y"), right.get_xlabel()) == (["L0H0", "L1H0"], "nats")
    top, bottom = right.get_ylim()
    assert top > bottom  # the first row stands at the top


def test_a_single_series_is_coloured_by_sign_with_its_null_as_a_diamond():
    figure = signed_bars(list(PARTS), {"": list(PARTS.values())}, nulls={"": [0.125, -0.5]}, title="t", label="nats")
    axes = figure.axes[0]
    assert rows(axes) == [(0, 0.25, COLORS[0].lower()), (1, -2.0, COLORS[1].lower())]
    assert across(axes) == [[0.0, 0.5], [-2.5, -1.5]]
    assert texts(axes) == ["+0.25", "−2.00"]
    assert diamonds(axes) == [[0.125, -0.5]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["null"]


def test_several_series_share_a_row_in_colours_of_their_own():
    parts = {"K": [PARTS["L0H0"], ONE], "Q": [ONE, PARTS["L1H0"]]}
    axes = signed_bars(["a", "b"], parts, colors={"Q": "#123456"}, title="t", label="l").axes[0]
    assert rows(axes) == [
        (0, 0.25, COLORS[0].lower()),
        (1, 0.125, COLORS[0].lower()),
        (0, 0.125, "#123456"),
        (1, -2.0, "#123456"),
    ]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["K", "Q"]


def test_a_part_of_one_sequence_has_no_interval():
    axes = signed_bars(["a"], {"": [ONE]}, title="t", label="l").axes[0]
    assert across(axes) == []
    assert texts(axes) == ["+0.12"]
    assert axes.get_legend() is None


def test_small_numbers_keep_two_digits():
    values = [Estimate(v, v, v, 2, 0.95, "b") for v in (1e-16, -0.02, 0.00123, 12.345)]
    axes = signed_bars(list("abcd"), {"": values}, title="t", label="l").axes[0]
    assert texts(axes) == ["0", "−0.020", "+0.0012", "+12.35"]


def test_a_rule_stands_above_its_row():
    axes = signed_bars(["a", "b"], {"": [ONE, ONE]}, rules=[1], title="t", label="l").axes[0]
    assert [0.5, 0.5] in [list(line.get_ydata()) for line in axes.lines]


def test_both_figures_become_the_same_png_every_time():
    def make():
        yield waterfall(4.0, STEPS, NAMES, parts=PARTS, title="the title", protocol="how")
        yield signed_bars(list(PARTS), {"": list(PARTS.values())}, nulls={"": [0, 0]}, title="the title", label="l")

    for first, second in zip(make(), make(), strict=True):
        assert first.get_suptitle() == "the title"
        png = png_bytes(first, dpi=50)
        assert png == png_bytes(second, dpi=50)
        with Image.open(io.BytesIO(png)) as picture:
            assert len(set(picture.convert("L").tobytes())) > 20


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: waterfall(4.0, [], ["a", "b"], title="t"), "at least one step"),
        (lambda: waterfall(4.0, STEPS, ["a", "b"], title="t"), "4 names are needed, got 2"),
        (lambda: signed_bars([], {"": []}, title="t", label="l"), "at least one row"),
        (lambda: signed_bars(["a"], {}, title="t", label="l"), "at least one row"),
        (lambda: signed_bars(["a"], {"K": [ONE, ONE]}, title="t", label="l"), "1 parts of K are needed, got 2"),
        (lambda: signed_bars(["a"], {"K": [ONE]}, nulls={"K": []}, title="t", label="l"), "1 nulls of K are needed"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(draw, message):
    with pytest.raises(InputError, match=message):
        draw()
