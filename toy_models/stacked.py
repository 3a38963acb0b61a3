"""TransformerLens' views of the weights: one tensor per kind, layers and heads stacked."""

from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from toy_models.config import TransformerConfig


class StackedWeights:
    """Mix-in that reads the parameters of `embed`, `blocks` and `unembed`; biases that are switched off read as zeros.

    The views are differentiable functions of the parameters, made anew at each access.
    """

    config: "TransformerConfig"
    embed: Any
    blocks: Any
    unembed: Any

    @property
    def W_E(self) -> Float[Tensor, "d_vocab d_model"]:
        return self.embed.W_E

    @property
    def W_pos(self) -> Float[Tensor, "n_ctx d_model"] | None:
        """None with rotary or no positions."""
        table = getattr(self, "pos_embed", None)
        return None if table is None else table.W_pos

    @property
    def W_U(self) -> Float[Tensor, "d_model d_vocab"]:
        return self.embed.W_E.T if self.unembed.W_U is None else self.unembed.W_U

    @property
    def b_U(self) -> Float[Tensor, " d_vocab"]:
        return self.W_E.new_zeros(self.config.d_vocab) if self.unembed.b_U is None else self.unembed.b_U

    @property
    def W_Q(self) -> Float[Tensor, "layer head d_model d_head"]:
        return self._attention("W_Q", self.config.n_heads, self.config.d_model, self.config.d_head)

    @property
    def W_K(self) -> Float[Tensor, "layer head d_model d_head"]:
        return self._attention("W_K", self.config.n_heads, self.config.d_model, self.config.d_head)

    @property
    def W_V(self) -> Float[Tensor, "layer head d_model d_head"]:
        return self._attention("W_V", self.config.n_heads, self.config.d_model, self.config.d_head)

    @property
    def W_O(self) -> Float[Tensor, "layer head d_head d_model"]:
        return self._attention("W_O", self.config.n_heads, self.config.d_head, self.config.d_model)

    @property
    def b_Q(self) -> Float[Tensor, "layer head d_head"]:
        return self._attention("b_Q", self.config.n_heads, self.config.d_head)

    @property
    def b_K(self) -> Float[Tensor, "layer head d_head"]:
        return self._attention("b_K", self.config.n_heads, self.config.d_head)

    @property
    def b_V(self) -> Float[Tensor, "layer head d_head"]:
        return self._attention("b_V", self.config.n_heads, self.config.d_head)

    @property
    def b_O(self) -> Float[Tensor, "layer d_model"]:
        return self._attention("b_O", self.config.d_model)

    def _attention(self, name: str, *shape: int) -> Tensor:
        if not len(self.blocks):
            return self.embed.W_E.new_zeros(0, *shape)
        each = [getattr(block.attn, name) for block in self.blocks]
        return torch.stack([self.embed.W_E.new_zeros(shape) if w is None else w for w in each])
