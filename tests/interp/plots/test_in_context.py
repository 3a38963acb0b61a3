"""The figures of the loss by position and of its formation, read back from what is drawn."""

import numpy as np
import pytest
import torch

from interp.errors import InputError
from interp.plots import formation, loss_by_position, png_bytes
from interp.stats import Estimates


def estimates(values, spread=0.5):
    mean = torch.tensor(values)
    return Estimates(mean, mean - spread, mean + spread, n=8, level=0.95, method="t")


LOSS, FRESH = estimates([4.0, 3.0, 1.0, 0.5]), estimates([4.0, 4.25, 4.5, 4.0])
KNOWN = {"best possible": torch.tensor([4.0, 3.5, 0.0, 0.0]), "counting alone": torch.tensor([4.0, 3.5, 1.0, 0.75])}
STEPS = [0, 1, 8, 64]


def curve(axes, name):
    return next(line for line in axes.lines if line.get_label() == name)


def drawn_loss(**options):
    settings = {"beside": {"fresh tokens": FRESH}, "references": KNOWN, "title": "t", **options}
    return loss_by_position(LOSS, **settings)


def test_loss_by_position_draws_each_curve_from_position_1_on_with_its_band():
    axes = drawn_loss().axes[0]
    for name, values in {"model": LOSS.mean, "fresh tokens": FRESH.mean, **KNOWN}.items():
        assert list(curve(axes, name).get_xdata()) == [1, 2, 3, 4]
        assert list(curve(axes, name).get_ydata()) == values.tolist()
    bands = [collection.get_paths()[0].vertices for collection in axes.collections]
    assert [(float(b[:, 1].min()), float(b[:, 1].max())) for b in bands] == [(3.5, 5.0), (0.0, 4.5)]
    assert {text.get_text() for text in axes.get_legend().get_texts()} == {"model", "fresh tokens", *KNOWN}


def test_loss_by_position_shades_what_cannot_be_predicted_and_marks_what_is_compared():
    axes = drawn_loss(
        predictable=torch.tensor([False, False, True, True]), marked={"early": 1, "late": 4}, beside=None
    ).axes[0]
    assert [(patch.get_x(), patch.get_width()) for patch in axes.patches] == [(0.5, 1.0), (1.5, 1.0)]
    assert [text.get_text() for text in axes.texts] == ["early", "late"]
    assert [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"] == [1, 4]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels.count("unpredictable") == 1


def drawn_formation(**options):
    settings = {
        "coordinates": torch.tensor([[0.0, 0.0], [1.0, 2.0], [3.0, 1.0], [4.0, 0.0]]),
        "explained": torch.tensor([0.9, 0.05]),
        "between": (1, 8),
        "surely": True,
        "title": "t",
        **options,
    }
    return formation(STEPS, estimates([0.0, -0.25, -3.0, -4.0]), estimates([0.0, -1.0, -2.0]), **settings)


def test_formation_draws_score_change_and_the_way_and_marks_the_phase_change():
    score, change, way = drawn_formation().axes
    assert list(score.lines[0].get_xdata()) == STEPS
    assert list(score.lines[0].get_ydata()) == [0.0, -0.25, -3.0, -4.0]
    assert [text.get_text() for text in score.texts] == ["phase change"]
    (stretch,) = score.patches
    assert (stretch.get_x(), stretch.get_x() + stretch.get_width()) == (1, 8)
    assert list(change.lines[0].get_ydata()) == [0.0, -1.0, -2.0]
    assert change.get_xlabel() == "position; step 1 to 8"
    assert np.array_equal(way.lines[0].get_xydata(), [[0, 0], [1, 2], [3, 1], [4, 0]])
    assert [text.get_text() for text in way.texts] == ["0", "1", "8", "64"]
    assert way.get_xlabel() == "component 1 (90%), nats"


def test_formation_without_a_phase_change_only_compares_and_may_have_no_plane():
    figure = drawn_formation(surely=False, coordinates=None, explained=None)
    assert len(figure.axes) == 2
    assert [text.get_text() for text in figure.axes[0].texts] == ["compared"]


def test_figures_are_the_same_bytes_each_time():
    for make in (drawn_loss, drawn_formation):
        assert png_bytes(make(), dpi=50) == png_bytes(make(), dpi=50)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: loss_by_position(estimates([]), title="t"), "no loss to draw"),
        (lambda: drawn_loss(beside={"fresh": estimates([1.0])}), r"fresh must have the shape \[4\], got \[1\]"),
        (lambda: drawn_loss(references={"best": torch.zeros(3)}), r"best must have the shape \[4\]"),
        (lambda: formation([0, 1], LOSS, LOSS, between=(0, 1), surely=True, title="t"), "2 scores are needed, got 4"),
        (lambda: drawn_formation(coordinates=torch.zeros(3, 2)), "4 points are needed, got 3"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
