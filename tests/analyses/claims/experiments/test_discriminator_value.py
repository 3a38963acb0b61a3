"""The best discriminator: the claim holds, and a trained one follows the odds it sees."""

import torch

from analyses.claims.experiments.discriminator_value import CLAIMS, trained_discriminator
from tests.claims_run import not_holding


def test_the_identity_holds():
    assert not_holding(CLAIMS) == []


def test_a_trained_discriminator_ends_at_the_share_of_data_among_what_it_sees():
    data, fake = torch.tensor([0.8, 0.2]), torch.tensor([0.4, 0.6])
    assert torch.allclose(trained_discriminator(data, fake, 500), torch.tensor([2 / 3, 1 / 4]), atol=1e-5)
    assert torch.allclose(trained_discriminator(data, 2 * fake, 500), torch.tensor([1 / 2, 1 / 7]), atol=1e-5)
