"""A claim run at once, in this process, without any cache."""

from collections.abc import Sequence

import torch

from analyses.claims.claim import Arm, Claim, Row
from analyses.claims.result import ClaimResult
from interp.errors import InputError


def run_claim(claim: Claim, seeds: Sequence[int] = (0, 1, 2), budget: float = 1.0, device: str = "cpu") -> ClaimResult:
    """Train every arm with every seed and judge; `InputError` for no seeds, repeated seeds or a budget not above 0."""
    check_request(seeds, budget)
    rows = {name: [run_arm(arm, seed, budget, device) for seed in seeds] for name, arm in claim.arms.items()}
    return ClaimResult(claim, tuple(seeds), budget, rows)


def run_arm(arm: Arm, seed: int, budget: float, device: str) -> Row:
    """One arm with one seed; torch's default generator starts from the seed, and is as it was afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return arm.train(seed=seed, device=device, budget=budget, **arm.config)


def check_request(seeds: Sequence[int], budget: float) -> None:
    """`InputError` unless there are seeds, all different, and the budget is above 0."""
    if not seeds or len(set(seeds)) != len(seeds):
        raise InputError(f"a claim needs at least one seed and no seed twice, got {list(seeds)}")
    if not budget > 0:
        raise InputError(f"budget must be above 0 (1.0 is the declared length of training), got {budget}")
