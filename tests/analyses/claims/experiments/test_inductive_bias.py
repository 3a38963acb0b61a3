"""Ridge regression: its solution is the one that its gradient says, and the claim is about both targets."""

import pytest
import torch

from analyses.claims.experiments.inductive_bias import CLAIMS, fitted, regressed
from analyses.claims.running import run_claim


def test_the_fit_is_where_the_penalised_loss_has_no_slope():
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((9, 4), (9,)))
    w = fitted(x, y, 0.7)
    slope = 2 * x.T @ (x @ w - y) + 2 * 0.7 * w
    assert slope.abs().max() < 1e-12


def test_the_bias_helps_on_one_target_and_hurts_on_the_other():
    assert run_claim(CLAIMS[0]).verdict.word == "holds"


def test_without_a_bias_the_error_is_that_of_least_squares_whatever_the_target():
    rows = [regressed(0, "cpu", 20.0, ridge=False, scale=scale)["error"] for scale in (0.2, 3.0)]
    expected = 20 / (30 - 20 - 1)  # noise² tr E[(x'x)^-1] of an inverse Wishart
    assert rows == pytest.approx([expected] * 2, rel=0.1)
