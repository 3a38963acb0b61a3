"""Models whose weights are finite and whose numbers are not."""

import torch

from toy_models import handmade
from toy_models.transformer import Transformer


def overflowing(point: str) -> Transformer:
    """Finite float32 weights with which values overflow: in the scores (so patterns), the values, or the logits."""
    model = handmade.make("induction_k").model.float()
    with torch.no_grad():
        if point == "pattern":
            model.blocks[1].attn.W_Q.mul_(1e20)
            model.blocks[1].attn.W_K.mul_(1e20)
        else:
            model.unembed.W_U.mul_(1e38)
    assert all(bool(parameter.isfinite().all()) for parameter in model.parameters())
    return model
