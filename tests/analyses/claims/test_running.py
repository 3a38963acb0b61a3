"""Arms that are run: torch's default generator starts from their seed and does not show that they ran."""

import torch

from analyses.claims import Arm
from analyses.claims.running import run_arm


def drawn(seed, device, budget):
    return {"number": float(torch.rand(1))}


def test_an_arm_draws_from_its_seed_and_leaves_torchs_random_state():
    state = torch.get_rng_state()
    rows = [run_arm(Arm(drawn), seed, 1.0, "cpu") for seed in (0, 1, 0)]
    assert rows[0] == rows[2] != rows[1]
    assert torch.equal(torch.get_rng_state(), state)
