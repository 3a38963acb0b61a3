"""Convolution as a shared linear map: the claim holds, and its parts are counted by hand."""

import pytest

from analyses.claims.experiments.convolution import CLAIMS, as_a_matrix, equivariance
from tests.claims_run import not_holding


def test_the_identity_holds():
    assert not_holding(CLAIMS) == []


def test_parameters_and_entries_are_counted_by_hand():
    row = as_a_matrix(0, "cpu", 1.0)
    assert row["parameters"] == 16 * 9 + 16
    assert row["dense parameters"] == 64 * 16 * 64 + 16 * 64
    inside, edges, corners = 36 * 9, 24 * 6, 4 * 4
    assert row["share of entries not 0"] == pytest.approx((inside + edges + corners) / 64 / 64)


def test_a_border_of_zeros_is_felt_by_two_convolutions_as_far_as_two_pixels_in():
    row = equivariance(1, "cpu", 1.0)
    assert row["circular, border"] < 1e-12
    assert row["zeros, inside"] < 1e-12 < 1e-3 < min(row["zeros, border"], row["dense"])


def test_the_seed_draws_net_and_digits():
    assert as_a_matrix(0, "cpu", 1.0) == as_a_matrix(0, "cpu", 1.0)
    assert equivariance(0, "cpu", 1.0) != equivariance(1, "cpu", 1.0)
