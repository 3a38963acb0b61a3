"""A small transformer with random weights and tokens for it, on the CPU and, where there is one, on a GPU."""

import pytest
import torch

from toy_models.config import TransformerConfig
from toy_models.transformer import Transformer

DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA GPU")
    ),
]


@pytest.fixture(params=DEVICES)
def model(request, generator):
    config = TransformerConfig(n_layers=2, n_heads=3, d_model=12, d_head=4, d_vocab=11, n_ctx=9, normalization="LN")
    model = Transformer(config, generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
    return model.to(request.param)


@pytest.fixture
def tokens(model, generator):
    return torch.randint(0, 11, (2, 9), generator=generator).to(model.W_E.device)
