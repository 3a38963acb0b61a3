"""Independent generators from one seed."""

import hashlib

import torch


def seed_for(seed: int, purpose: str) -> int:
    """A seed below 2**63 that depends on both; different purposes give unrelated streams."""
    digest = hashlib.sha256(f"{purpose} {seed}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator_for(seed: int, purpose: str) -> torch.Generator:
    """A CPU generator for one purpose of a run: "weights", "data", "held-out" ..."""
    return torch.Generator().manual_seed(seed_for(seed, purpose))
