"""What the figures show: the artists on them carry the numbers that were passed."""

import io
import math
import re
import sys

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.patches import FancyArrowPatch, Rectangle
from PIL import Image

from interp.circuits import Factored
from interp.errors import InputError
from interp.names import Head
from interp.plots import (
    ablation_bars,
    attention_grid,
    circuit_matrix,
    composition_graph,
    composition_matrices,
    eigenvalue_spectra,
    logit_lens,
    loss_by_layer,
    png_bytes,
    score_by_period,
    score_heatmap,
    training_curve,
)
from interp.plots.drawing import COLORS, check_shape, drawable
from interp.stats import Estimate, Estimates

SCORES = torch.tensor([[0.02, 0.93, 0.05], [0.1, 0.2, 0.81]])
SPREAD = Estimates(SCORES[0], SCORES[0], SCORES[0], n=2, level=0.95, method="t")
SIGNED = torch.tensor([[-0.5, 0.25], [0.1, 0.0]])
CAUSAL = torch.tensor([[1.0, 0, 0], [0.5, 0.5, 0], [0.2, 0.3, 0.5]])


def axes_of(figure, panel=0):
    return figure.axes[panel]


def image(figure, panel=0):
    return axes_of(figure, panel).images[0]


def values(figure, panel=0):
    return np.ma.filled(image(figure, panel).get_array(), np.nan)


def texts(axes):
    return [text.get_text() for text in axes.texts]


def ticks(axes, which):
    labels = axes.get_xticklabels() if which == "x" else axes.get_yticklabels()
    return [label.get_text() for label in labels]


def bar_label(figure):
    return figure.axes[-1].get_ylabel()


def frames(axes):
    """(row, column) of every framed cell."""
    boxes = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    return {(round(box.get_y() + 0.5), round(box.get_x() + 0.5)) for box in boxes}


def estimate(mean):
    return Estimate(mean, mean - 0.1, mean + 0.2, 50, 0.95, "bootstrap")


# --- every figure -----------------------------------------------------------------------------------------------


def every_figure():
    composition = {kind: torch.full((2, 2, 2, 2), 0.3) for kind in "QKV"}
    yield score_heatmap(SCORES, SCORES / 10, title="t", label="score", protocol="p")
    yield score_by_period(
        [5, 10, 25], SCORES, ["a", "b"], null=SCORES / 9, low=SCORES, high=SCORES, title="t", label="s"
    )
    yield attention_grid(CAUSAL[None], ["L0H0"], ["a", "b", "c"], title="t")
    yield circuit_matrix(SIGNED, ["a", "b"], ["a", "b"], title="t", row_name="r", column_name="c", label="l")
    yield eigenvalue_spectra([torch.tensor([1 + 1j, 1 - 1j])], ["L0H0"], [1.0], title="t")
    yield composition_graph(composition, 0.1, title="t")
    yield composition_matrices(composition, 0.1, title="t")
    yield logit_lens(SCORES, [["a", "b", "c"]] * 2, ["in", "out"], ["a", "b", "c"], title="t")
    yield loss_by_layer(SCORES[0], ["a", "b", "c"], low=SCORES[0], high=SCORES[0], references={"best": 0.01}, title="t")
    yield training_curve([0, 10], [4.0, 3.0], [4, 1], optimum=0, order_free=(2, 3), chance=4, emerged=10)
    yield ablation_bars(["a"], {"zero": [estimate(1.0)]}, null=(-0.1, 0.1), title="t")


def test_every_figure_becomes_the_same_png_every_time():
    for first, second in zip(every_figure(), every_figure(), strict=True):
        png = png_bytes(first, dpi=50)
        assert png == png_bytes(second, dpi=50)
        with Image.open(io.BytesIO(png)) as picture:
            size = first.get_size_inches() * 50
            assert np.abs(picture.size - size).max() < 1
            assert len(set(picture.convert("L").resize((200, 150)).tobytes())) > 20
            assert picture.info.keys() <= {"dpi"}


def test_figures_set_nothing_globally():
    before = dict(matplotlib.rcParams)
    for figure in every_figure():
        png_bytes(figure, dpi=40)
    assert dict(matplotlib.rcParams) == before
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        assert pyplot.get_fignums() == []


def test_figures_leave_their_tensors_as_they_were():
    scores = SCORES.clone()
    score_heatmap(scores, scores, title="t", label="s")
    attention_grid(CAUSAL[None], ["L0H0"], title="t")
    assert torch.equal(scores, SCORES)
    assert CAUSAL[0].tolist() == [1, 0, 0]


def test_title_and_protocol_stand_on_the_figure():
    figure = score_heatmap(SCORES, title="the title", label="s", protocol="how it was measured")
    assert figure.get_suptitle() == "the title"
    assert figure.get_supxlabel() == "how it was measured"


def test_tokens_that_look_like_formulas_or_have_no_shape_are_drawn_as_text():
    tokens = ["$x_{", "\n", "中", "\u202e", "", "<b>", "שלום", "\\frac"]
    grid = attention_grid(torch.eye(8)[None], ["$H$"], tokens, title="$y^{")
    assert ticks(axes_of(grid), "y") == ["$x_{", "↵", "\\u4e2d", "\\u202e", "∅", "<b>", "שלום", "\\frac"]
    assert len(png_bytes(grid)) > 1000  # drawing warns of a missing shape, and warnings are errors here


def test_what_the_font_cannot_show_is_escaped_and_cut():
    assert drawable("é中") == "é\\u4e2d"
    assert drawable("中中", 8) == "\\u4e2d\\…"


# --- scores -----------------------------------------------------------------------------------------------------


def test_a_score_heat_map_shows_each_score_and_its_null():
    figure = score_heatmap(SCORES, SCORES / 2, title="t", label="attention mass", limits=(0, 1))
    assert np.allclose(values(figure), SCORES)
    assert texts(axes_of(figure))[1] == "0.93\n(null 0.47)"
    assert (image(figure).norm.vmin, image(figure).norm.vmax) == (0, 1)
    assert image(figure).cmap.name == "Blues"
    assert bar_label(figure) == "attention mass"
    assert (axes_of(figure).get_xlabel(), axes_of(figure).get_ylabel()) == ("head", "layer")


def test_layers_go_down_and_heads_across():
    axes = axes_of(score_heatmap(SCORES, title="t", label="s"))
    assert ticks(axes, "y") == ["0", "1"]
    assert ticks(axes, "x") == ["0", "1", "2"]
    bottom, top = axes.get_ylim()
    assert bottom > top


def test_signed_scores_are_red_and_blue_around_zero():
    figure = score_heatmap(SIGNED, title="t", label="s")
    assert (image(figure).norm.vmin, image(figure).norm.vmax) == (-0.5, 0.5)
    assert image(figure).cmap.name == "RdBu"
    assert texts(axes_of(figure))[0] == "−0.50"


def test_a_missing_score_is_grey_and_says_so():
    figure = score_heatmap(torch.tensor([[float("nan"), 0.5]]), title="t", label="s")
    assert texts(axes_of(figure)) == ["n/a", "0.50"]
    assert to_hex(image(figure).cmap(np.ma.masked_invalid([np.nan]))[0]) == "#dddddd"


def test_marked_heads_have_a_frame():
    figure = score_heatmap(SCORES, title="t", label="s", marked=[Head(1, 2), (0, 1)])
    assert frames(axes_of(figure)) == {(1, 2), (0, 1)}


def test_numbers_are_white_on_dark_cells_only():
    colors = [to_hex(text.get_color()) for text in axes_of(score_heatmap(SCORES, title="t", label="s")).texts]
    assert colors[1] == "#ffffff"
    assert colors[0] == "#222222"


def test_scores_by_period_colour_the_highest_heads_and_dash_their_null():
    scores = torch.tensor([[0.1, 0.1], [0.9, 0.8], [0.5, 0.5], [0.3, 0.3], [0.2, 0.2], [0.0, 0.0]])
    names = [f"H{i}" for i in range(6)]
    axes = axes_of(score_by_period([5, 25], scores, names, null=scores / 4, title="t", label="s"))
    lines = [(to_hex(line.get_color()), line.get_linestyle(), *np.round(line.get_ydata(), 3)) for line in axes.lines]
    assert (COLORS[0].lower(), "-", 0.9, 0.8) in lines
    assert (COLORS[0].lower(), "--", 0.225, 0.2) in lines
    assert ("#bbbbbb", "-", 0.1, 0.1) in lines
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["H1", "H2", "H3", "H4", "other heads", "null"]


# --- attention --------------------------------------------------------------------------------------------------


def test_a_causal_pattern_is_grey_where_no_head_can_look():
    figure = attention_grid(torch.stack([CAUSAL, CAUSAL]), ["L0H0", "L0H1"], ["a", "b", "c"], title="t")
    assert np.isnan(values(figure)[np.triu_indices(3, 1)]).all()
    assert np.allclose(values(figure)[np.tril_indices(3)], CAUSAL[np.tril_indices(3)])
    assert not np.isnan(values(attention_grid(CAUSAL.mT[None], ["L0H0"], title="t"))).any()


def test_panels_share_one_colour_scale_and_are_named():
    figure = attention_grid(torch.stack([CAUSAL / 2, CAUSAL]), ["L0H0", "L0H1"], title="t", label="attention")
    assert [axes.get_title() for axes in figure.axes[:2]] == ["L0H0", "L0H1"]
    assert image(figure, 0).norm.vmax == image(figure, 1).norm.vmax == 1
    assert bar_label(figure) == "attention"


def test_tokens_label_short_sequences_and_positions_long_ones():
    short = axes_of(attention_grid(torch.eye(3)[None], ["H"], ["<bos>", " a", "b"], title="t"))
    assert ticks(short, "x") == ticks(short, "y") == ["<bos>", "␣a", "b"]
    long = axes_of(attention_grid(torch.eye(41)[None], ["H"], ["a"] * 41, title="t"))
    assert "a" not in ticks(long, "x")


# --- circuits ---------------------------------------------------------------------------------------------------


def matrix_figure(matrix, rows, columns, **options):
    return circuit_matrix(
        matrix, rows, columns, title="t", row_name="source", column_name="output", label="logit", **options
    )


def test_a_circuit_is_signed_labelled_and_its_diagonal_framed():
    figure = matrix_figure(torch.tensor([[2.0, 1.0], [0.5, 3.0]]), ["a", "b"], ["a", "b"])
    axes = axes_of(figure)
    assert (image(figure).norm.vmin, image(figure).norm.vmax, image(figure).cmap.name) == (-3, 3, "RdBu")
    assert (ticks(axes, "x"), ticks(axes, "y")) == (["a", "b"], ["a", "b"])
    assert frames(axes) == {(0, 0), (1, 1)}
    assert figure.get_supxlabel() == "Mean of the diagonal 2.5; of the rest 0.75 (standard deviation 0.25)."


def test_a_circuit_between_different_labels_has_no_diagonal():
    figure = matrix_figure(torch.ones(2, 2), ["0", "1"], ["a", "b"])
    assert frames(axes_of(figure)) == set()
    assert figure.get_supxlabel() == ""


def test_a_large_circuit_keeps_the_strongest_tokens_on_both_axes_in_order():
    matrix = torch.zeros(50, 50)
    matrix[40, 3], matrix[7, 7] = -5.0, 4.0
    labels = [f"t{i}" for i in range(50)]
    figure = matrix_figure(matrix, labels, labels, largest=3)
    assert ticks(axes_of(figure), "x") == ticks(axes_of(figure), "y") == ["t3", "t7", "t40"]
    assert values(figure).tolist() == [[0, 0, 0], [0, 4, 0], [-5, 0, 0]]
    assert "3 of 50 rows and 3 of 50 columns" in figure.get_supxlabel().replace("\n", " ")


def test_rows_and_columns_of_a_large_circuit_are_chosen_apart_where_they_differ():
    matrix = torch.zeros(4, 5)
    matrix[2, 4] = 1.0
    figure = matrix_figure(matrix, list("abcd"), list("vwxyz"), largest=1)
    assert (ticks(axes_of(figure), "y"), ticks(axes_of(figure), "x")) == (["c"], ["z"])


@pytest.mark.parametrize("n, largest", [(1, 64), (5, 64), (90, 7)])
def test_a_factored_circuit_is_drawn_as_the_dense_one(n, largest, generator):
    A, B = (1 + torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((n, 3), (3, n)))
    table = Factored(A, B)
    labels = [f"t{i}" for i in range(n)]
    for columns in (labels, [f"{label}'" for label in labels]):
        ours, dense = (matrix_figure(each, labels, columns, largest=largest) for each in (table, table.dense()))
        assert ours.get_supxlabel() == dense.get_supxlabel()
        assert values(ours) == pytest.approx(values(dense), abs=1e-9)
        assert ticks(axes_of(ours), "x") == ticks(axes_of(dense), "x")
        assert ticks(axes_of(ours), "y") == ticks(axes_of(dense), "y")
        assert image(ours).norm.vmax == pytest.approx(image(dense).norm.vmax, abs=1e-9)
        assert frames(axes_of(ours)) == frames(axes_of(dense))


def test_eigenvalues_stand_in_the_complex_plane_under_their_copying_score():
    spectra = [torch.tensor([2 + 1j, 2 - 1j]), torch.tensor([-1 + 0j])]
    figure = eigenvalue_spectra(spectra, ["L0H0", "L0H1"], [0.894, -1], nulls=["null 0 ± 0.1"] * 2, title="t")
    points = axes_of(figure).collections[0]
    assert points.get_offsets().tolist() == [[2, 1], [2, -1]]
    assert [axes.get_title() for axes in figure.axes] == [
        "L0H0: copying +0.89\nnull 0 ± 0.1",
        "L0H1: copying −1.00\nnull 0 ± 0.1",
    ]
    left, right = axes_of(figure).get_xlim()
    assert -left == right > math.sqrt(5)
    assert axes_of(figure).get_aspect() == 1
    png_bytes(figure, dpi=40)
    red, _, blue, _ = axes_of(figure, 1).collections[0].get_facecolor()[0]
    assert red > blue


# --- composition ------------------------------------------------------------------------------------------------


def composition(**strong):
    scores = {kind: torch.full((2, 2, 2, 2), 0.05) for kind in "QKV"}
    for kind, value in strong.items():
        scores[kind][0, 1, 1, 0] = value
    return scores


def arrows(figure):
    return [patch for patch in axes_of(figure).patches if isinstance(patch, FancyArrowPatch)]


def test_arrows_go_from_earlier_to_later_heads_wider_the_further_above_the_baseline():
    figure = composition_graph(composition(K=0.5, V=0.3), 0.1, title="t")
    wide, narrow = sorted(arrows(figure), key=lambda arrow: -arrow.get_linewidth())
    assert to_hex(wide.get_edgecolor()) == COLORS[1].lower()
    assert to_hex(narrow.get_edgecolor()) == COLORS[2].lower()
    assert wide.get_linewidth() - 0.6 == pytest.approx(2 * (narrow.get_linewidth() - 0.6))
    nodes = {text.get_text(): text.get_position() for text in axes_of(figure).texts}
    assert wide._posA_posB == [nodes["L0H1"], nodes["L1H0"]]
    assert nodes["L0H0"][1] > nodes["L1H0"][1]
    assert {"K 0.50", "V 0.30"} <= set(nodes)


def test_the_graph_says_that_it_is_of_weights_only_and_what_it_left_out():
    foot = composition_graph(composition(K=0.5), 0.1, title="t").get_supxlabel().replace("\n", " ")
    assert foot.startswith("Weights only")
    assert "the 1 strongest of 12 pairs" in foot
    assert composition_matrices(composition(), 0.1, title="t").get_supxlabel().startswith("Weights only")


def test_only_the_strongest_arrows_are_drawn():
    scores = {"K": torch.rand(3, 4, 3, 4, generator=torch.Generator().manual_seed(0)) + 0.2}
    figure = composition_graph(scores, 0.1, title="t", most=5)
    assert len(arrows(figure)) == 5
    assert arrows(figure)[-1].get_linewidth() == pytest.approx(4.8)  # the strongest, drawn last


def test_each_pair_can_have_a_baseline_of_its_own():
    baselines = {kind: torch.full((2, 2, 2, 2), 0.1) for kind in "QKV"}
    baselines["K"][0, 1, 1, 0] = 0.6
    assert arrows(composition_graph(composition(K=0.5), baselines, title="t")) == []


def test_a_note_stands_at_its_node():
    figure = composition_graph(composition(), 0.1, title="t", notes={Head(1, 0): "induction"})
    assert "induction" in texts(axes_of(figure))


def test_composition_matrices_are_coloured_by_score_minus_baseline_and_hold_the_score():
    figure = composition_matrices(composition(K=0.5), 0.1, title="t")
    assert [axes.get_title() for axes in figure.axes[:3]] == ["Q-composition", "K-composition", "V-composition"]
    assert np.allclose(values(figure, 1), [[-0.05, -0.05], [0.4, -0.05]])
    assert texts(axes_of(figure, 1)) == ["0.05", "0.05", "0.50", "0.05"]
    assert ticks(axes_of(figure), "y") == ["L0H0", "L0H1"]
    assert ticks(axes_of(figure, 1), "x") == ["L1H0", "L1H1"]
    assert image(figure).norm.vmin == -image(figure, 2).norm.vmax == pytest.approx(-0.4)


def test_heads_of_one_layer_never_compose():
    figure = composition_matrices({"V": torch.ones(3, 2, 3, 2)}, 0.1, title="t")
    assert np.isnan(values(figure)).tolist() == [[False] * 4] * 2 + [[True, True, False, False]] * 2


# --- lens, training, ablation -----------------------------------------------------------------------------------


def test_the_logit_lens_shows_token_and_probability_and_frames_what_comes_true():
    top = [["x", "b", " c"], ["b", "c", "x"]]
    figure = logit_lens(SCORES, top, ["embedding", "after layer 0"], ["a", "b", "c"], ["b", "c", "a"], title="t")
    assert texts(axes_of(figure))[2] == "␣c\n0.05"
    assert frames(axes_of(figure)) == {(1, 0), (1, 1)}
    assert ticks(axes_of(figure), "y") == ["embedding", "after layer 0"]
    assert ticks(axes_of(figure), "x") == ["a\n→b", "b\n→c", "c\n→a"]
    assert (image(figure).norm.vmin, image(figure).norm.vmax) == (0, 1)


def test_a_long_logit_lens_holds_no_text():
    figure = logit_lens(torch.rand(1, 41), [["a"] * 41], ["in"], ["a"] * 41, title="t")
    assert texts(axes_of(figure)) == []


def test_loss_by_layer_shows_other_losses_beside_it_with_a_legend():
    loss = torch.tensor([4.0, 1.5])
    other = Estimates(loss - 1, loss - 1.25, loss - 0.5, n=8, level=0.95, method="t")
    figure = loss_by_layer(loss, ["in", "out"], beside={"tuned": other}, references={"chance": 4.16}, title="t")
    axes = axes_of(figure)
    curve = next(line for line in axes.lines if line.get_label() == "tuned")
    assert list(curve.get_ydata()) == [3.0, 0.5]
    assert [segment[:, 1].tolist() for segment in axes.collections[0].get_segments()] == [[2.75, 3.5], [0.25, 1.0]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["logit lens", "tuned"]
    assert axes_of(loss_by_layer(loss, ["in", "out"], title="t")).get_legend() is None


def test_loss_by_layer_shows_the_losses_their_intervals_and_what_to_compare_with():
    loss = torch.tensor([4.0, 1.5])
    figure = loss_by_layer(
        loss, ["in", "out"], low=loss - 0.5, high=loss + 0.25, references={"chance": 4.16}, title="t"
    )
    axes = axes_of(figure)
    assert any(list(line.get_ydata()) == [4.0, 1.5] for line in axes.lines)
    assert [segment[:, 1].tolist() for segment in axes.collections[0].get_segments()] == [[3.5, 4.25], [1.0, 1.75]]
    assert any(list(line.get_ydata()) == [4.16, 4.16] for line in axes.lines)
    assert texts(axes) == ["chance", "4.00", "1.50"]


def test_head_names_are_turned_only_where_there_are_too_many_to_stand_side_by_side():
    def turned(count):
        axes = axes_of(ablation_bars(["L0H0"] * count, {"zero": [estimate(1.0)] * count}, title="t"))
        return {label.get_rotation() for label in axes.get_xticklabels()}

    assert turned(8) == {0}
    assert turned(17) == {90}


def test_a_training_curve_shows_what_can_be_reached_and_when_it_emerged():
    steps = [0, 10, 20, 30]
    figure = training_curve(
        steps, [4, 3.5, 3, 2.5], [4, 2, 0.2, 0.1], optimum=0.06, order_free=(3.2, 3.5), chance=4.16, emerged=20
    )
    axes = axes_of(figure)
    lines = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines}
    assert lines["loss, all positions"] == (steps, [4, 3.5, 3, 2.5])
    assert lines["loss, predictable positions"] == (steps, [4, 2, 0.2, 0.1])
    assert lines["optimum 0.06"][1] == [0.06, 0.06]
    assert lines["chance 4.16"][1] == [4.16, 4.16]
    assert [20, 20] in [list(line.get_xdata()) for line in axes.lines]
    assert texts(axes) == ["emerged at step 20"]
    band = axes.patches[0]
    assert (band.get_y(), band.get_y() + band.get_height()) == pytest.approx((3.2, 3.5))


def test_a_training_curve_without_emergence_says_nothing_of_it():
    axes = axes_of(training_curve([1, 10, 100], [4, 3, 2], log_steps=True))
    assert axes.get_xscale() == "log"
    assert texts(axes) == []
    assert len(axes.lines) == 1


def test_ablation_bars_show_effect_interval_null_and_zero():
    effects = {"zero": [estimate(2.0), estimate(0.0)], "mean": [estimate(1.0), estimate(-0.05)]}
    axes = axes_of(ablation_bars(["L0H0", "L1H1"], effects, null=(-0.3, 0.3), title="t"))
    heights = [bar.get_height() for container in axes.containers for bar in container]
    assert heights == [2.0, 0.0, 1.0, -0.05]
    ends = [segment[:, 1].tolist() for segment in axes.collections[0].get_segments()]
    assert ends == [pytest.approx([1.9, 2.2]), pytest.approx([-0.1, 0.2])]
    assert [0, 0] in [list(line.get_ydata()) for line in axes.lines]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["null", "zero ablation", "mean ablation"]
    assert ticks(axes, "x") == ["L0H0", "L1H1"]


# --- what is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: score_heatmap(torch.zeros(0, 4), title="t", label="s"), "no score to draw: its shape is [0, 4]"),
        (lambda: score_heatmap(SCORES, title="t", label="s", limits=(1, 0)), "must ascend, got 1 to 0"),
        (lambda: score_heatmap(SCORES, title="t", label="s", marked=[(2, 0)]), "must lie within 2 layers x 3 heads"),
        (lambda: score_by_period([1], SCORES, ["a", "b"], title="t", label="s"), "3 periods are needed, got 1"),
        (
            lambda: score_by_period([1, 2, 3], SCORES, ["a", "b"], highlighted=["c"], title="t", label="s"),
            "at most 7 heads out of ['a', 'b']",
        ),
        (lambda: attention_grid(CAUSAL[None], ["a", "b"], title="t"), "1 head names are needed, got 2"),
        (lambda: attention_grid(CAUSAL[None], ["a"], ["x"], title="t"), "3 tokens are needed, got 1"),
        (lambda: matrix_figure(SCORES, ["a"], ["a"]), "2 row labels are needed, got 1"),
        (lambda: matrix_figure(SCORES[:0], [], ["a", "b", "c"]), "no entry to draw"),
        (lambda: eigenvalue_spectra([torch.ones(1) + 0j], [], [1], title="t"), "1 head names are needed, got 0"),
        (lambda: eigenvalue_spectra([], [], [], title="t"), "no spectrum to draw"),
        (lambda: composition_graph({}, 0.1, title="t"), "scores of the kinds Q, K, V, got none"),
        (lambda: composition_graph({"X": torch.ones(2, 1, 2, 1)}, 0.1, title="t"), "got ['X']"),
        (lambda: composition_graph({"K": torch.ones(1, 2, 1, 2)}, 0.1, title="t"), "at least 2 layers"),
        (lambda: composition_matrices({"K": torch.ones(2, 1, 3, 1)}, 0.1, title="t"), "[layer head layer head]"),
        (lambda: composition_graph(composition(), {"K": composition()["K"]}, title="t"), "no baseline for Q"),
        (lambda: check_shape("the null", SCORES[0], SCORES), "the null must have the shape [2, 3], got [3]"),
        (
            lambda: logit_lens(SCORES, [["a"]], ["in", "out"], ["a", "b", "c"], title="t"),
            "2 rows of top tokens are needed, got 1",
        ),
        (lambda: loss_by_layer(SCORES[0], ["in"], title="t"), "3 depth names are needed, got 1"),
        (lambda: loss_by_layer(SCORES[0, :1], ["in"], beside={"b": SPREAD}, title="t"), "a loss beside it"),
        (lambda: training_curve([], []), "steps must ascend"),
        (lambda: training_curve([2, 1], [1, 1]), "steps must ascend"),
        (lambda: training_curve([1, 2], [1]), "2 losses are needed, got 1"),
        (lambda: ablation_bars(["a"], {}, title="t"), "at least one head"),
        (lambda: ablation_bars(["a"], {"zero": []}, title="t"), "1 effects of zero ablation are needed, got 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, message):
    with pytest.raises(InputError, match=re.escape(message)):
        call()
