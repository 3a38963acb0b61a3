"""`TransformerWeights`: one frozen view of a transformer's weights, whatever made the model."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.errors import InputError
from interp.names import Head, check

Normalization = Literal["none", "LN", "LNPre", "RMS", "RMSPre"]
AttentionDir = Literal["causal", "bidirectional"]


@dataclass(frozen=True, eq=False)
class TransformerWeights:
    """Weights with TransformerLens' names and shapes (rows are vectors, `x @ W`), and what they mean.

    With x the residual stream and N(x) = x / sqrt(mean(x²) + norm_eps), x first centred for the LN kinds, then times
    a gain and plus a bias where the model has them and they were not folded:

        q = (N(x) + W_pos_attn[layer]) W_Q + b_Q      k likewise      v = N(x) W_V + b_V
        scores = q R(dest - src) k^T / attn_scale     out = pattern v W_O, summed over heads, + b_O
        logits = N(x) W_U + b_U

    The tensors are copies, detached from the model: training it further does not move them. Two sequences of matrices
    describe the same function in many ways (any basis inside a head; without normalisation any basis of the residual
    stream): prefer numbers that do not depend on the choice, such as those in token space.
    """

    W_E: Float[Tensor, "d_vocab d_model"]
    W_Q: Float[Tensor, "layer head d_model d_head"]
    W_K: Float[Tensor, "layer head d_model d_head"]
    W_V: Float[Tensor, "layer head d_model d_head"]
    W_O: Float[Tensor, "layer head d_head d_model"]
    b_Q: Float[Tensor, "layer head d_head"]
    b_K: Float[Tensor, "layer head d_head"]
    b_V: Float[Tensor, "layer head d_head"]
    b_O: Float[Tensor, "layer d_model"]
    W_U: Float[Tensor, "d_model d_vocab_out"]
    b_U: Float[Tensor, " d_vocab_out"]
    n_ctx: int
    attn_scale: float
    """Scores are divided by this: sqrt(d_head), unless the model says otherwise."""
    normalization: Normalization
    """What still stands before every read of the residual stream."""
    norm_eps: float
    attention_dir: AttentionDir = "causal"
    """causal: scores above the diagonal are -inf; bidirectional: none is."""
    W_pos: Float[Tensor, "n_ctx d_model"] | None = None
    """Standard positions, added to the residual stream."""
    W_pos_attn: Float[Tensor, "layer n_ctx d_model"] | None = None
    """Shortformer positions, added to the inputs of Q and K after normalisation, never to the residual stream or V."""
    smear: Float[Tensor, "layer head"] | None = None
    """Share s of its own key that a smeared key keeps: k_j -> s k_j + (1 - s) k_{j-1}, the first key unchanged."""
    rotary_base: float | None = None
    """None unless q and k are rotated."""
    rotary_dim: int = 0
    """How many of the d_head numbers are rotated."""
    rotary_pairs: Literal["adjacent", "halves"] = "adjacent"
    """Which numbers turn together: 2i and 2i + 1, or i and i + rotary_dim / 2."""
    rotary_frequencies: tuple[float, ...] | None = None
    """By how many radians each pair turns per position, where it is not rotary_base^(-2i / rotary_dim)."""
    n_kv_heads: int | None = None
    """How many different heads there are among W_K and W_V, consecutive ones being equal; None: all may differ."""
    W_in: Float[Tensor, "layer d_model d_mlp"] | None = None
    b_in: Float[Tensor, "layer d_mlp"] | None = None
    W_out: Float[Tensor, "layer d_mlp d_model"] | None = None
    b_out: Float[Tensor, "layer d_model"] | None = None
    W_gate: Float[Tensor, "layer d_model d_mlp"] | None = None
    """With a gate, the MLP is `(activation(N(x) W_gate + b_gate) * (N(x) W_in + b_in)) W_out + b_out`."""
    b_gate: Float[Tensor, "layer d_mlp"] | None = None
    activation: str | None = None
    """The MLP's nonlinearity, by the name that the model's configuration gives it."""
    parallel: bool = False
    """Whether the MLP of a layer reads what its attention reads, instead of what the attention has added to."""
    ln1_w: Float[Tensor, "layer d_model"] | None = None
    ln1_b: Float[Tensor, "layer d_model"] | None = None
    ln2_w: Float[Tensor, "layer d_model"] | None = None
    ln2_b: Float[Tensor, "layer d_model"] | None = None
    ln_final_w: Float[Tensor, " d_model"] | None = None
    ln_final_b: Float[Tensor, " d_model"] | None = None
    tied: bool = False
    """Whether the model unembeds with its embedding; folding the final gain leaves W_U different from W_E^T."""
    folded: tuple[str, ...] = ()
    """What was folded and what remains, in sentences."""

    @property
    def n_layers(self) -> int:
        return self.W_Q.shape[0]

    @property
    def n_heads(self) -> int:
        return self.W_Q.shape[1]

    @property
    def d_model(self) -> int:
        return self.W_E.shape[1]

    @property
    def d_head(self) -> int:
        return self.W_Q.shape[3]

    @property
    def d_vocab(self) -> int:
        return self.W_E.shape[0]

    @property
    def dtype(self) -> torch.dtype:
        return self.W_E.dtype

    @property
    def device(self) -> torch.device:
        return self.W_E.device

    @property
    def has_positions(self) -> bool:
        """Whether a score can depend on where a token stands, by learned, fixed or rotary positions."""
        return self.W_pos is not None or self.W_pos_attn is not None or self.rotary_base is not None

    @property
    def is_folded(self) -> bool:
        """Whether nothing but a scale stands before a read (no gain, bias or centring)."""
        return self.normalization in ("none", "RMSPre")

    def to(self, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> "TransformerWeights":
        """The same weights in another precision or place; float64 for identities."""
        return self.map(lambda tensor: tensor.to(dtype=dtype, device=device))

    def map(self, function: Callable[[Tensor], Tensor]) -> "TransformerWeights":
        """The same view with `function` applied to every tensor."""
        changed: dict[str, Any] = {name: function(tensor) for name, tensor in self.tensors().items()}
        return dataclasses.replace(self, **changed)

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor that is there, by field name."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}

    def check_head(self, head: tuple[int, int]) -> None:
        """`InputError` unless (layer, head) exists."""
        check(Head(*head), self.n_layers, self.n_heads)

    def rotation(self, offset: int | None = None) -> Float[Tensor, "d_head d_head"]:
        """R(offset) in `q_i · k_j = x_i W_Q R(i - j) W_K^T x_j^T`, offset = dest - src; I without rotary positions.

        Pair i, of `rotary_pairs`, turns by offset * rotary_base^(-2i / rotary_dim) (Su et al. 2021, arXiv:2104.09864).
        Raises `InputError` for rotary positions without an offset, or an offset that the context does not hold.
        """
        if self.rotary_base is None:
            return torch.eye(self.d_head, dtype=self.dtype, device=self.device)
        if offset is None:
            raise InputError(
                "with rotary positions there is no single W_Q W_K^T: pass offset=dest - src, for example offset=1"
            )
        lowest = 0 if self.attention_dir == "causal" else 1 - self.n_ctx
        if not lowest <= offset < self.n_ctx:
            raise InputError(f"offset = dest - src must lie in {lowest}..{self.n_ctx - 1}, got {offset}")
        angles, (first, second) = offset * self.frequencies(), self.pairs()
        R = torch.eye(self.d_head, dtype=torch.float64)
        R[first, first] = R[second, second] = angles.cos()
        R[first, second], R[second, first] = angles.sin(), -angles.sin()
        return R.to(self.W_Q)

    def frequencies(self) -> Float[Tensor, " pair"]:
        """By how many radians each pair turns per position, in float64; none without rotary positions."""
        if self.rotary_frequencies is not None:
            return torch.tensor(self.rotary_frequencies, dtype=torch.float64)
        pairs = torch.arange(0, self.rotary_dim, 2, dtype=torch.float64)
        return (self.rotary_base or 1.0) ** (-pairs / max(1, self.rotary_dim))

    def pairs(self) -> tuple[Int[Tensor, " pair"], Int[Tensor, " pair"]]:
        """The first and the second number of each pair that turns."""
        numbers = torch.arange(self.rotary_dim)
        if self.rotary_pairs == "halves":
            return numbers[: self.rotary_dim // 2], numbers[self.rotary_dim // 2 :]
        return numbers[0::2], numbers[1::2]

    def normalise(
        self,
        x: Float[Tensor, "*rest d_model"],
        gain: Float[Tensor, " d_model"] | None = None,
        bias: Float[Tensor, " d_model"] | None = None,
    ) -> Float[Tensor, "*rest d_model"]:
        """The normalisation that remains, N(x) * gain + bias."""
        if self.normalization == "none":
            return x
        if self.normalization in ("LN", "LNPre"):
            x = x - x.mean(-1, keepdim=True)
        x = x / (x.square().mean(-1, keepdim=True) + self.norm_eps).sqrt()
        x = x if gain is None else x * gain
        return x if bias is None else x + bias
