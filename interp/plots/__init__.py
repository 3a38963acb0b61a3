"""Static figures: functions from tensors and labels to a matplotlib `Figure`; nothing is written or set globally.

Layer down, head across; signed values in `RdBu` with symmetric limits around 0, others in `Blues` from 0; every
colour bar is labelled. `png_bytes` turns a figure into a PNG, the same bytes for the same figure.
"""

from interp.plots.arms import Effect, Errors, curves_by_arm, paired_effects, points_by_arm
from interp.plots.attention import attention_grid
from interp.plots.by_position import score_by_position
from interp.plots.causal import ablation_bars
from interp.plots.circuits import circuit_matrix, eigenvalue_spectra
from interp.plots.composition import composition_graph, composition_matrices
from interp.plots.drawing import png_bytes
from interp.plots.in_context import formation, loss_by_position
from interp.plots.lens import logit_lens, loss_by_layer
from interp.plots.paths import signed_bars, waterfall
from interp.plots.scores import score_by_period, score_heatmap
from interp.plots.training import training_curve

__all__ = [
    "Effect",
    "Errors",
    "ablation_bars",
    "attention_grid",
    "circuit_matrix",
    "composition_graph",
    "composition_matrices",
    "curves_by_arm",
    "eigenvalue_spectra",
    "formation",
    "logit_lens",
    "loss_by_layer",
    "loss_by_position",
    "paired_effects",
    "png_bytes",
    "points_by_arm",
    "score_by_period",
    "score_by_position",
    "score_heatmap",
    "signed_bars",
    "training_curve",
    "waterfall",
]
