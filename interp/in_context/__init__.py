"""What a model learns from its context: loss by position, the in-context-learning score, when it forms, by whom."""

from interp.in_context.carried import Carried, OtherSets, Shares, carried_share
from interp.in_context.phase import PhaseChange, phase_change
from interp.in_context.positions import PositionLosses, loss_by_position
from interp.in_context.readers import ReaderLosses, reader_losses
from interp.in_context.score import InContextScore, in_context_score, score_positions
from interp.in_context.support import Support, supporting_heads
from interp.in_context.vectors import BeforeAfter, Trajectory, before_after, trajectory, undone_by

__all__ = [
    "BeforeAfter",
    "Carried",
    "InContextScore",
    "OtherSets",
    "PhaseChange",
    "PositionLosses",
    "ReaderLosses",
    "Shares",
    "Support",
    "Trajectory",
    "before_after",
    "carried_share",
    "in_context_score",
    "loss_by_position",
    "phase_change",
    "reader_losses",
    "score_positions",
    "supporting_heads",
    "trajectory",
    "undone_by",
]
