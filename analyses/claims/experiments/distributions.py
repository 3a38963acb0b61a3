"""Random probability distributions for the claims about them."""

import torch
from torch import Tensor


def drawn_distributions(generator: torch.Generator, *shape: int) -> Tensor:
    """Softmax of standard normals over the last axis, in float64: every outcome has a probability above 0."""
    return torch.randn(*shape, generator=generator, dtype=torch.float64).softmax(-1)
