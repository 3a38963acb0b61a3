"""Exact path expansion: logits and attention scores as sums over paths, virtual heads, term importance."""

from interp.paths.frozen import FrozenRun, freeze
from interp.paths.importance import TermImportance, term_importance, term_importance_of, virtual_head_effect
from interp.paths.logits import LogitPaths, logit_paths, logit_paths_of
from interp.paths.path import Path
from interp.paths.scores import Contrast, ScorePaths, kind_of, score_paths, score_paths_of, shares
from interp.paths.trace import PreviousTokenTrace, previous_token_trace
from interp.paths.virtual_heads import score_table, virtual_full_ov, virtual_ov, virtual_pattern

__all__ = [
    "Contrast",
    "FrozenRun",
    "LogitPaths",
    "Path",
    "PreviousTokenTrace",
    "ScorePaths",
    "TermImportance",
    "freeze",
    "kind_of",
    "logit_paths",
    "logit_paths_of",
    "previous_token_trace",
    "score_paths",
    "score_paths_of",
    "score_table",
    "shares",
    "term_importance",
    "term_importance_of",
    "virtual_full_ov",
    "virtual_head_effect",
    "virtual_ov",
    "virtual_pattern",
]
