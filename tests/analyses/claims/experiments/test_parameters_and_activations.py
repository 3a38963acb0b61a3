"""What looking changes: the claim holds, and its hash sees what it should."""

import torch
from torch import nn

from analyses.claims.experiments.parameters_and_activations import CLAIMS, share_changed, state_hash
from tests.claims_run import not_holding


def test_the_identity_holds_and_leaves_torchs_random_state():
    state = torch.get_rng_state()
    assert not_holding(CLAIMS) == []
    assert torch.equal(torch.get_rng_state(), state)


def test_the_hash_sees_parameters_buffers_and_random_numbers():
    net = nn.BatchNorm1d(2)
    with torch.random.fork_rng(devices=[]):
        hashes = [state_hash(net)]
        with torch.no_grad():
            net.weight[0] += 1e-6
        hashes.append(state_hash(net))
        net.running_mean[0] += 1e-6
        hashes.append(state_hash(net))
        torch.rand(1)
        hashes.append(state_hash(net))
        assert state_hash(net) == hashes[-1]
    assert len(set(hashes)) == 4


def test_the_share_that_changed_counts_tensors():
    one, two = torch.zeros(2), torch.ones(2)
    assert share_changed([one, two, one, one], [one, one, one, two]) == 0.5
