"""Growth of a gambler's capital: known bets, the identity with relative entropy, and games played out."""

import math

import pytest
import torch

from interp.errors import InputError
from interp.stats import divergence, growth_rate
from interp.stats.gambling import mean_growth


def test_betting_as_the_house_believes_gains_nothing_and_a_known_coin_pays_its_bias():
    truth, house = torch.tensor([0.75, 0.25]), torch.tensor([0.5, 0.5])
    assert float(growth_rate(truth, house, house)) == 0
    assert float(growth_rate(truth, truth, house)) == pytest.approx(
        math.log(2) + 0.75 * math.log(0.75) + 0.25 * math.log(0.25)
    )


def test_growth_is_the_kl_to_the_house_less_the_kl_to_the_bets():
    generator = torch.Generator().manual_seed(0)
    truth, house = (torch.randn(5, generator=generator, dtype=torch.float64).softmax(-1) for _ in range(2))
    bets = torch.randn(20, 5, generator=generator, dtype=torch.float64).softmax(-1)
    expected = divergence(truth, house) - divergence(truth, bets)
    assert torch.allclose(growth_rate(truth, bets, house), expected, atol=1e-12)


def test_a_bet_on_everything_but_what_happens_is_ruin():
    truth = torch.tensor([0.5, 0.5])
    assert float(growth_rate(truth, torch.tensor([1.0, 0.0]), truth)) == -math.inf


def test_rounds_played_grow_by_the_product_of_what_they_paid():
    bets, house = torch.tensor([0.8, 0.2]), torch.tensor([0.5, 0.5])
    outcomes = torch.tensor([0, 0, 1, 0])
    capital = 1.6 * 1.6 * 0.4 * 1.6
    mean, error = mean_growth(outcomes, bets, house)
    assert mean == pytest.approx(math.log(capital) / 4, rel=1e-6)
    assert error == pytest.approx(math.log(4) * 0.5 / 2, rel=1e-6)  # the std of (1, 1, 0, 1) is 1/2, over root 4


def test_bets_that_are_no_distribution_are_refused():
    with pytest.raises(InputError, match="bets must sum to 1"):
        growth_rate(torch.tensor([1.0]), torch.tensor([2.0]), torch.tensor([1.0]))
