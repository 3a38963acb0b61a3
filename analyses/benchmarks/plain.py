"""The rivals of a training step: the same maths in plain PyTorch with fused attention, and TransformerLens' bridge."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toy_models.config import TransformerConfig


class PlainTransformer(nn.Module):
    """Two or more layers of pre-LN attention with standard learned positions: what one would write without hooks."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        width = config.n_heads * config.d_head
        self.n_heads, self.d_head = config.n_heads, config.d_head
        self.tokens = nn.Embedding(config.d_vocab, config.d_model)
        self.positions = nn.Embedding(config.n_ctx, config.d_model)
        self.norms = nn.ModuleList(nn.LayerNorm(config.d_model) for _ in range(config.n_layers))
        self.qkv = nn.ModuleList(nn.Linear(config.d_model, 3 * width) for _ in range(config.n_layers))
        self.out = nn.ModuleList(nn.Linear(width, config.d_model) for _ in range(config.n_layers))
        self.final_norm = nn.LayerNorm(config.d_model)
        self.unembed = nn.Linear(config.d_model, config.d_vocab)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, length = tokens.shape
        x = self.tokens(tokens) + self.positions.weight[:length]
        for norm, qkv, out in zip(self.norms, self.qkv, self.out, strict=True):
            q, k, v = qkv(norm(x)).view(batch, length, 3, self.n_heads, self.d_head).permute(2, 0, 3, 1, 4)
            z = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + out(z.transpose(1, 2).reshape(batch, length, -1))
        return self.unembed(self.final_norm(x))


def bridge_of(config: TransformerConfig) -> Any:
    """TransformerLens' trainable bridge of the same shape."""
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge import TransformerBridge

    return TransformerBridge.boot_native(
        TransformerBridgeConfig(
            d_model=config.d_model,
            d_head=config.d_head,
            n_heads=config.n_heads,
            n_layers=config.n_layers,
            n_ctx=config.n_ctx,
            d_vocab=config.d_vocab,
            attn_only=True,
            normalization_type="LN",
        )
    )


def training_step(model: nn.Module, loss: Callable[[Tensor], Tensor], tokens: Tensor) -> Callable[[], None]:
    """One update with AdamW (fused) and clipping, the same for every rival."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, fused=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss(tokens).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()

    return step


def next_token_loss(logits: Tensor, tokens: Tensor) -> Tensor:
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
