"""The conditions that every other test relies on."""

import warnings

import jaxtyping
import pytest
import torch

from toy_models.config import TransformerConfig, from_dict
from toy_models.transformer import Transformer


def test_a_wrong_type_is_refused():
    with pytest.raises(jaxtyping.TypeCheckError, match="values"):
        from_dict(TransformerConfig, [1, 2])


def test_a_wrong_shape_is_refused(generator):
    config = TransformerConfig(n_layers=1, n_heads=1, d_model=4, d_head=4, d_vocab=5, n_ctx=6)
    with pytest.raises(jaxtyping.TypeCheckError, match="tokens"):
        Transformer(config, generator).forward(torch.zeros(3, dtype=torch.long))


def test_a_warning_is_an_error():
    with pytest.raises(UserWarning, match="careful"):
        warnings.warn("careful", stacklevel=1)


def test_torch_runs_on_one_thread():
    assert torch.get_num_threads() == 1


def test_the_generator_starts_the_same_in_every_test(generator):
    assert torch.equal(torch.rand(2, generator=generator), torch.rand(2, generator=torch.Generator().manual_seed(0)))
