"""What every head of a model does on tokens: detectors and evaluators, with nulls and intervals."""

from interp.heads.battery import HeadBattery, measure_heads, prefix_matching_by_period, score_heads
from interp.heads.by_position import ScoresByPosition, scores_by_position
from interp.heads.detectors import DETECTORS, Detector, attention_entropy
from interp.heads.push import next_token_push
from interp.heads.scores import HeadScores
from interp.heads.stimuli import Protocol, olsson_protocol, predictable_positions, repeated_tokens

__all__ = [
    "DETECTORS",
    "Detector",
    "HeadBattery",
    "HeadScores",
    "Protocol",
    "ScoresByPosition",
    "attention_entropy",
    "measure_heads",
    "next_token_push",
    "olsson_protocol",
    "predictable_positions",
    "prefix_matching_by_period",
    "repeated_tokens",
    "score_heads",
    "scores_by_position",
]
