"""Random transformers in float64, and handmade ones with fewer dimensions: what the exact transformer claims run on."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toy_models.config import TransformerConfig, to_dict
from toy_models.transformer import Transformer

SMALL: dict[str, Any] = {"n_layers": 2, "n_heads": 3, "d_model": 16, "d_head": 5, "d_vocab": 12, "n_ctx": 10}


def random_transformer(seed: int, device: str, **options: Any) -> Transformer:
    """Every parameter drawn at random, biases and gains too, so that none hides behind its initial value."""
    generator = torch.Generator().manual_seed(seed)
    model = Transformer(TransformerConfig(**(SMALL | options)), generator).double()
    with torch.no_grad():
        for name, tensor in model.trained_tensors().items():
            drawn = 0.4 * torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            tensor.copy_(drawn + 1 if name.endswith(".w") else drawn)
    return model.to(device).eval()


def random_tokens(seed: int, device: str, model: Transformer, batch: int = 6) -> Int[Tensor, "batch pos"]:
    """As long as the model's context."""
    generator = torch.Generator().manual_seed(seed + 1)
    return torch.randint(model.config.d_vocab, (batch, model.config.n_ctx), generator=generator).to(device)


def squeezed(model: Transformer, directions: Float[Tensor, "d_model d"]) -> Transformer:
    """The model with coordinate i of its residual stream written along row i of `directions`, and read along it too.

    What writes is multiplied by the directions, what reads by their transpose: the same function if they are
    orthonormal, else every coordinate also hears what is written along directions that are not orthogonal to its own.
    """
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for name, tensor in state.items():
        kind = name.rsplit(".", 1)[-1]
        if kind in ("W_E", "W_pos", "W_O"):
            state[name] = tensor @ directions
        elif kind in ("W_Q", "W_K", "W_V", "W_U"):
            state[name] = directions.T @ tensor
    config = TransformerConfig(**(to_dict(model.config) | {"d_model": directions.shape[1]}))
    narrow = Transformer(config, torch.Generator()).to(model.W_E)
    narrow.load_state_dict(state)
    return narrow.eval()
