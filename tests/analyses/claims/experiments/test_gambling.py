"""Gamblers and records: the claims hold, and what they are made of is what it says."""

import pytest
import torch

from analyses.claims.experiments.gambling import (
    CLAIMS,
    _counts,
    _means,
    kelly,
    log_likelihood_ratio,
    three_beliefs,
)
from interp.stats import divergence
from tests.claims_run import not_holding


def test_the_identity_holds():
    assert not_holding(CLAIMS) == []


def test_growth_is_that_of_the_frequencies_that_came():
    _, truth, house, _ = three_beliefs(3)
    row = kelly(3, "cpu", 0.01)
    assert row["KL"] == pytest.approx(float((truth * (truth / house).log()).sum()))
    spread = float(((truth / house).log().square() * truth).sum() - row["KL"] ** 2) ** 0.5
    assert abs(row["growth"] - row["KL"]) / (spread / 10_000**0.5) == pytest.approx(row["off"], rel=0.05)


def test_outcomes_are_counted_as_often_as_they_are_drawn():
    source = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    counts = _counts(source, 1000, torch.Generator().manual_seed(0))
    assert counts.sum(1).tolist() == [1000] * len(counts)
    assert counts.mean(0).tolist() == pytest.approx((1000 * source).tolist(), abs=4 * (250 / len(counts)) ** 0.5)
    expected = (1000 * source * (1 - source)).tolist()
    assert counts.var(0).tolist() == pytest.approx(expected, rel=0.5)


def test_longer_records_go_on_from_shorter_ones():
    source, ratio = torch.tensor([0.5, 0.5], dtype=torch.float64), torch.tensor([1.0, 0.0], dtype=torch.float64)
    means = _means(source, ratio, [1, 2, 3], torch.Generator().manual_seed(0))
    added = torch.diff(means * torch.tensor([1.0, 2.0, 3.0]), dim=1)
    assert set(added.round(decimals=6).flatten().tolist()) == {0.0, 1.0}


def test_a_record_from_the_house_says_minus_kl_reversed():
    _, truth, house, _ = three_beliefs(0)
    row = log_likelihood_ratio(0, "cpu", 1.0)
    apart = float(divergence(truth, house) + divergence(house, truth))
    assert row["rms Q"][-1] == pytest.approx(apart, rel=1e-2)
    assert row["rms P"][-1] < 0.01 * row["rms P"][0]
