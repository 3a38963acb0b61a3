"""Every digit is judged by a net that was not trained on it, whatever its shortcuts."""

import pytest

from analyses.claims.experiments.residual_shortcuts import IMAGES, cross_validated


def test_accuracy_counts_each_of_all_images_once():
    row = cross_validated(0, "cpu", 0.01, shortcut="C")
    right = row["accuracy"] * IMAGES / 100
    assert right == pytest.approx(round(right), abs=1e-6)
    assert 5 < row["accuracy"] < 60, "two steps teach little"
    assert len(row["accuracy by fold"]) == 5
