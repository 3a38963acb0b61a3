"""The graph of edges by effect, and the frames in the matrices."""

import io

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.patches import FancyArrowPatch
from PIL import Image

from interp.errors import InputError
from interp.plots import png_bytes
from interp.plots.composition import composition_matrices, effect_graph
from interp.plots.drawing import COLORS
from interp.stats import Estimate

K_EDGE, V_EDGE = (0, 1, 1, 0), (0, 0, 1, 1)


def shares_and_q():
    """Two layers of two heads: a strong K-edge and half as strong a V-edge, both sure; a strong Q-edge that is not."""
    shares = {kind: torch.full((2, 2, 2, 2), -0.2, dtype=torch.float64) for kind in "QKV"}
    q = {kind: torch.ones(2, 2, 2, 2, dtype=torch.float64) for kind in "QKV"}
    shares["K"][K_EDGE], q["K"][K_EDGE] = 0.8, 0.001
    shares["V"][V_EDGE], q["V"][V_EDGE] = 0.4, 0.05
    shares["Q"][0, 0, 1, 0], q["Q"][0, 0, 1, 0] = 0.9, 0.06
    return shares, q


def estimate(mean, low):
    return Estimate(mean, low, 2 * mean - low, 32, 0.95, "by hand")


def arrows(figure):
    return [patch for patch in figure.axes[0].patches if isinstance(patch, FancyArrowPatch)]


def texts(figure):
    return {text.get_text(): text.get_position() for text in figure.axes[0].texts}


def foot(figure):
    return figure.get_supxlabel().replace("\n", " ")


def test_only_edges_with_a_small_q_are_drawn_as_wide_as_their_share():
    figure = effect_graph(*shares_and_q(), title="t")
    wide, narrow = sorted(arrows(figure), key=lambda arrow: -arrow.get_linewidth())
    assert to_hex(wide.get_edgecolor()) == COLORS[1].lower()
    assert to_hex(narrow.get_edgecolor()) == COLORS[2].lower()
    assert wide.get_linewidth() - 0.6 == pytest.approx(2 * (narrow.get_linewidth() - 0.6))
    assert {"K 0.80", "V 0.40"} <= texts(figure).keys()
    assert wide._posA_posB == [texts(figure)["L0H1"], texts(figure)["L1H0"]]
    assert "all of 2 edges, out of 12, that compose more than their null at q ≤ 0.05" in foot(figure)
    assert len(arrows(effect_graph(*shares_and_q(), title="t", level=0.01))) == 1


def test_edges_are_dashed_until_tokens_confirm_them_and_both_numbers_stand_on_them():
    shares, q = shares_and_q()
    plain = effect_graph(shares, q, title="t")
    assert {arrow.get_linestyle() for arrow in arrows(plain)} == {arrows(plain)[0].get_linestyle()} != {"solid"}
    assert foot(plain).startswith("Weights only")
    assert "bar" not in foot(plain)
    seen = {("K", (0, 1), (1, 0)): estimate(2.345, 2.0), ("V", (0, 0), (1, 1)): estimate(0.03, -0.01)}
    figure = effect_graph(shares, q, title="t", on_tokens=seen, unit="nats of the score")
    lines = {to_hex(arrow.get_edgecolor()): arrow.get_linestyle() for arrow in arrows(figure)}
    assert lines[COLORS[1].lower()] == "solid" != lines[COLORS[2].lower()]
    assert {"K 0.80 | 2.35", "V 0.40 | 0.03"} <= texts(figure).keys()
    assert "After the bar: nats of the score. Dashed: weights only, or an interval there that holds 0." in foot(figure)
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == [
        "Q-composition",
        "K-composition",
        "V-composition",
        "weights only (not measured\non tokens, or not found there)",
    ]


def test_edges_that_were_not_tested_or_lie_below_the_null_are_not_drawn():
    shares, q = shares_and_q()
    q["K"][K_EDGE] = float("nan")
    q["V"][V_EDGE], shares["V"][V_EDGE] = 0.001, -0.5
    assert arrows(effect_graph(shares, q, title="t")) == []


def test_labels_of_many_arrows_do_not_cover_each_other():
    shares = {"K": torch.rand(2, 4, 2, 4, generator=torch.Generator().manual_seed(0)) + 0.1}
    figure = effect_graph(shares, {"K": torch.zeros(2, 4, 2, 4)}, title="t", most=8)
    assert len(arrows(figure)) == 8
    assert "the 8 strongest of 16 edges" in foot(figure)
    FigureCanvasAgg(figure).draw()
    boxes = [t.get_bbox_patch().get_window_extent() for t in figure.axes[0].texts if t.get_text().startswith("K ")]
    assert len(boxes) == 8
    overlapping = sum(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert overlapping == 0


def test_the_matrices_frame_what_is_sure():
    scores, q = shares_and_q()
    figure = composition_matrices(scores, 0.1, title="t", q_values=q)
    framed = [[patch.get_xy() for patch in axes.patches] for axes in figure.axes[:3]]
    assert framed == [[], [(-0.5, 0.5)], [(0.5, -0.5)]]
    assert not any(axes.patches for axes in composition_matrices(scores, 0.1, title="t").axes[:3])


def test_the_same_graph_becomes_the_same_png():
    first, second = (png_bytes(effect_graph(*shares_and_q(), title="t"), dpi=50) for _ in range(2))
    assert first == second
    with Image.open(io.BytesIO(first)) as picture:
        assert len(set(picture.convert("L").resize((200, 150)).tobytes())) > 20


def test_what_cannot_be_drawn_is_refused():
    shares, q = shares_and_q()
    with pytest.raises(InputError, match="no q-values for V-composition, only for K, Q"):
        effect_graph(shares, {"K": q["K"], "Q": q["Q"]}, title="t")
    with pytest.raises(InputError, match="scores of the kinds Q, K, V, got none"):
        effect_graph({}, {}, title="t")


def test_shares_are_left_as_they_were():
    shares, q = shares_and_q()
    before = shares["K"].clone()
    effect_graph(shares, q, title="t")
    assert torch.equal(before, shares["K"])
