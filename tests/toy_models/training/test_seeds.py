"""Streams of one seed are unrelated; the same purpose gives the same stream."""

import torch

from toy_models.training.seeds import generator_for, seed_for


def test_a_purpose_has_its_own_stream_that_is_the_same_each_time():
    draws = {p: torch.rand(4, generator=generator_for(3, p)).tolist() for p in ("weights", "data", "held-out")}
    assert len({tuple(d) for d in draws.values()}) == 3
    assert torch.rand(4, generator=generator_for(3, "data")).tolist() == draws["data"]
    assert torch.rand(4, generator=generator_for(4, "data")).tolist() != draws["data"]


def test_seeds_are_those_of_sha_256_so_that_they_never_change():
    assert seed_for(0, "data") == 5224382404683257410
    assert all(0 <= seed_for(seed, "data") < 2**63 for seed in range(100))
