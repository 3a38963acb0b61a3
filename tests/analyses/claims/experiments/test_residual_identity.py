"""The identity with and without a shortcut: short trainings, and the best of several settings."""

from analyses.claims.experiments.residual_identity import RATES, SCALES, D, fit_identity, trained
from toy_models.residual_mlp import ResidualMLPConfig


def test_a_residual_block_learns_the_identity_far_better_with_smaller_weights():
    plain, residual = (fit_identity(0, "cpu", 0.2, residual=residual) for residual in (False, True))
    assert residual["error"] < plain["error"] / 10
    assert residual["weights"] < plain["weights"]


def test_each_arm_has_the_best_of_its_settings():
    rows = [
        trained(0, "cpu", 3, rate, ResidualMLPConfig(D, 2 * D, 1, True, scale)) for rate in RATES for scale in SCALES
    ]
    assert fit_identity(0, "cpu", 0.01)["error"] == min(row["error"] for row in rows)
    assert len({row["error"] for row in rows}) == 4
