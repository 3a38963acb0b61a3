"""What every test runs under: shapes checked, one thread, no display, no network."""

import os

os.environ.update(
    OMP_NUM_THREADS="1",
    MKL_NUM_THREADS="1",
    MPLBACKEND="Agg",
    HF_HUB_OFFLINE="1",
    TOKENIZERS_PARALLELISM="false",
)

import pytest
from jaxtyping import install_import_hook

# Every annotated function of the three packages checks its shapes and types from here on.
install_import_hook(["interp", "toy_models", "analyses"], "beartype.beartype")


@pytest.fixture
def generator():
    """A torch generator that starts from the same seed in every test."""
    import torch

    return torch.Generator().manual_seed(0)
