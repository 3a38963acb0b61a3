"""How often induction forms is counted, not assumed."""

from dataclasses import replace

import pytest

from analyses.emergence import measure_emergence
from toy_models.train_config import RunConfig


def test_a_run_that_is_too_short_counts_as_never_and_the_interval_says_how_little_two_seeds_tell():
    config = RunConfig()
    found = measure_emergence(replace(config, train=replace(config.train, steps=2)), [1, 2], progress=False)
    assert found.steps == {1: None, 2: None}
    assert (found.share.mean, found.share.low) == (0.0, 0.0)
    assert found.share.high == pytest.approx(1 - 0.025**0.5)
    assert str(found).endswith("within 2 steps: never")


def test_the_default_run_forms_induction_well_within_its_budget():
    found = measure_emergence(RunConfig(), [0], progress=False)
    assert 100 <= found.ordered[0] <= 500
    assert found.budget == 1000
    assert "1 of 1 seeds" in str(found)
