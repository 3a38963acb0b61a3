"""Models, tokens and settings that hypothesis draws: every shape and option of our transformer, small."""

from typing import Any

import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.reference_transformer import random_model
from toy_models.config import TransformerConfig
from toy_models.transformer import Transformer

SLOW_CHECKS = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


def examples(n: int) -> settings:
    """So many drawn cases, the same ones in every run, with nothing kept on disk."""
    return settings(max_examples=n, derandomize=True, deadline=None, database=None, suppress_health_check=SLOW_CHECKS)


@st.composite
def configs(draw: st.DrawFn, /, **fixed: Any) -> TransformerConfig:
    """Any attention-only transformer or one with MLPs, of 1 to 3 layers; `fixed` fields are not drawn."""
    positions = fixed.get("positions") or draw(st.sampled_from(["standard", "shortformer", "rotary", "none"]))
    learned = positions in ("rotary", "none") or draw(st.booleans())
    d_model = 2 * draw(st.integers(1, 5))
    values: dict[str, Any] = {
        "n_layers": draw(st.integers(1, 3)),
        "n_heads": draw(st.integers(1, 4)),
        "d_model": d_model,
        "d_head": 2 * draw(st.integers(1, 3)) if positions == "rotary" else draw(st.integers(1, 5)),
        "d_vocab": draw(st.integers(5, 12)),
        "n_ctx": draw(st.integers(6, 10)),
        "positions": positions,
        "learned_positions": learned,
        "smeared_keys": draw(st.booleans()),
        "normalization": draw(st.sampled_from(["none", "LN", "LNPre", "RMS", "RMSPre"])),
        "tied_embeddings": draw(st.booleans()),
        "biases": draw(st.booleans()),
        "d_mlp": draw(st.sampled_from([0, 0, 3])),
        "activation": draw(st.sampled_from(["gelu", "relu"])),
    }
    return TransformerConfig(**{**values, **fixed})


@st.composite
def models(draw: st.DrawFn, /, **fixed: Any) -> Transformer:
    """A float64 model of any shape, every parameter random (gains of both signs, biases, smears)."""
    return random_model(draw(configs(**fixed)), draw(st.integers(0, 2**16)))


@st.composite
def cases(draw: st.DrawFn, /, batch: int | None = None, **fixed: Any) -> tuple[Transformer, Tensor]:
    """A model and tokens that it can run: at least two positions, and `batch` sequences or 2 to 4 of them."""
    model = draw(models(**fixed))
    return model, draw(tokens_of(model, batch))


@st.composite
def tokens_of(draw: st.DrawFn, /, model: Transformer, batch: int | None = None, length: int | None = None) -> Tensor:
    rows = draw(st.integers(2, 4)) if batch is None else batch
    length = draw(st.integers(3, model.config.n_ctx)) if length is None else length
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    return torch.randint(model.config.d_vocab, (rows, length), generator=generator)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scored_in(tokens: Tensor) -> Tensor:
    """Every second token, never the first: a mask that leaves others unscored."""
    mask = torch.zeros_like(tokens, dtype=torch.bool)
    mask[:, 1::2] = True
    return mask
