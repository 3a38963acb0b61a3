"""Intervals, p-values, null distributions and false discovery: what stands beside every score."""

from interp.stats.false_discovery import benjamini_yekutieli
from interp.stats.intervals import (
    Estimate,
    Estimates,
    Null,
    bootstrap_interval,
    bootstrap_intervals,
    clopper_pearson,
    monte_carlo_p_value,
    null_summary,
    p_value,
    sign_flip_p_values,
    student_t_interval,
    student_t_intervals,
)
from interp.stats.scored import Scored

__all__ = [
    "Estimate",
    "Estimates",
    "Null",
    "Scored",
    "benjamini_yekutieli",
    "bootstrap_interval",
    "bootstrap_intervals",
    "clopper_pearson",
    "monte_carlo_p_value",
    "null_summary",
    "p_value",
    "sign_flip_p_values",
    "student_t_interval",
    "student_t_intervals",
]
