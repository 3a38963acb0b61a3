"""A figure's PNG is the one that matplotlib's own `savefig` writes, and the figure is as it was."""

import io

import torch

from interp.plots import attention_grid, png_bytes, score_heatmap


def figures():
    pattern = torch.tensor([[[1.0, 0.0], [0.3, 0.7]]] * 3)
    yield attention_grid(pattern, ["L0H0", "L0H1", "L0H2"], ["a", "b"], title="Patterns", columns=2)
    yield score_heatmap(torch.tensor([[0.1, 0.9]]), torch.tensor([[0.0, 0.1]]), title="Scores", label="share")


def test_the_bytes_are_those_of_savefig():
    for ours, theirs in zip(figures(), figures(), strict=True):
        file = io.BytesIO()
        theirs.savefig(file, format="png", dpi=90, metadata={"Software": None})
        assert png_bytes(ours, dpi=90) == file.getvalue()


def test_the_figure_keeps_its_canvas_and_resolution():
    for figure in figures():
        canvas, dpi = figure.canvas, figure.get_dpi()
        png_bytes(figure, dpi=90)
        assert figure.canvas is canvas
        assert figure.get_dpi() == dpi
