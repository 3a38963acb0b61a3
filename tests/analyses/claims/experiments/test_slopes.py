"""Slopes of lines and of power laws."""

import pytest
import torch

from analyses.claims.experiments.slopes import log_slope, slope


def test_the_slope_of_a_line_is_its_slope_and_that_of_a_power_law_its_power():
    assert slope(torch.tensor([0.0, 1.0, 3.0]), torch.tensor([5.0, 3.0, -1.0])) == pytest.approx(-2)
    lengths = torch.tensor([10, 100, 1000])
    assert log_slope(lengths, 3 * lengths.double() ** -0.5) == pytest.approx(-0.5)
    assert slope(torch.tensor([0.0, 1.0, 2.0]), torch.tensor([0.0, 3.0, 0.0])) == pytest.approx(0)
