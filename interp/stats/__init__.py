"""What stands beside every score: intervals, p-values, nulls, false discovery; and distances of distributions."""

from interp.stats.discriminator import discriminator_value, optimal_discriminator
from interp.stats.divergence import cross_entropy, divergence, entropy, gaussian_kl
from interp.stats.false_discovery import benjamini_yekutieli
from interp.stats.frechet import frechet_distance
from interp.stats.gambling import growth_rate
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
    "cross_entropy",
    "discriminator_value",
    "divergence",
    "entropy",
    "frechet_distance",
    "gaussian_kl",
    "growth_rate",
    "monte_carlo_p_value",
    "null_summary",
    "optimal_discriminator",
    "p_value",
    "sign_flip_p_values",
    "student_t_interval",
    "student_t_intervals",
]
