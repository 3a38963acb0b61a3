"""A transformer's forward pass written out from `TransformerWeights` alone, in loops: the slow twin in tests."""

import cmath
import contextlib
from collections.abc import Callable, Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from interp.weights import TransformerWeights
from toy_models.config import TransformerConfig
from toy_models.transformer import Transformer

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "gelu_pytorch_tanh": partial(F.gelu, approximate="tanh"),
    "silu": F.silu,
}


@contextlib.contextmanager
def float64_by_default() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def random_model(config: TransformerConfig, seed: int = 0) -> Transformer:
    """A float64 model whose every parameter is random: gains around 1 and of both signs, biases, smears."""
    generator = torch.Generator().manual_seed(seed)
    with float64_by_default():
        model = Transformer(config, generator=generator)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            if name.rsplit(".", 1)[-1].startswith("W_"):
                parameter.copy_(0.5 * noise)
            elif name.endswith(".w"):
                parameter.copy_(1 + 0.6 * noise)
            else:
                parameter.copy_(0.5 * noise)
    return model.eval()


def random_tokens(config: TransformerConfig, batch: int = 2, pos: int = 7, seed: int = 1) -> Tensor:
    return torch.randint(config.d_vocab, (batch, pos), generator=torch.Generator().manual_seed(seed))


def logits_from(w: TransformerWeights, tokens: Tensor) -> Tensor:
    """Logits [batch pos d_vocab], from the formulas in `TransformerWeights`' docstring."""
    residual = w.W_E[tokens]
    if w.W_pos is not None:
        residual = residual + w.W_pos[: tokens.shape[1]]
    for layer in range(w.n_layers):
        x = normalised(w, residual, w.ln1_w, w.ln1_b, layer)
        before, added = residual, sum((attention(w, x, layer, head) for head in range(w.n_heads)), w.b_O[layer])
        residual = residual + added
        if w.W_in is not None:
            read = before if w.parallel else residual
            residual = residual + activated(w, normalised(w, read, w.ln2_w, w.ln2_b, layer), layer)
    return w.normalise(residual, w.ln_final_w, w.ln_final_b) @ w.W_U + w.b_U


def activated(w: TransformerWeights, x: Tensor, layer: int) -> Tensor:
    """What the MLP of a layer writes, reading the normalised x."""
    assert w.W_in is not None
    assert w.b_in is not None
    assert w.W_out is not None
    assert w.b_out is not None
    activation, pre = ACTIVATIONS[w.activation or ""], x @ w.W_in[layer] + w.b_in[layer]
    if w.W_gate is None:
        return activation(pre) @ w.W_out[layer] + w.b_out[layer]
    assert w.b_gate is not None
    return (activation(x @ w.W_gate[layer] + w.b_gate[layer]) * pre) @ w.W_out[layer] + w.b_out[layer]


def normalised(w: TransformerWeights, x: Tensor, gain: Tensor | None, bias: Tensor | None, layer: int) -> Tensor:
    return w.normalise(x, None if gain is None else gain[layer], None if bias is None else bias[layer])


def attention(w: TransformerWeights, x: Tensor, layer: int, head: int) -> Tensor:
    at = (layer, head)
    x_qk = x if w.W_pos_attn is None else x + w.W_pos_attn[layer, : x.shape[1]]
    q, k, v = x_qk @ w.W_Q[at] + w.b_Q[at], x_qk @ w.W_K[at] + w.b_K[at], x @ w.W_V[at] + w.b_V[at]
    if w.smear is not None:
        before = torch.cat([k[:, :1], k[:, :-1]], dim=1)
        k = w.smear[at] * k + (1 - w.smear[at]) * before
    z = torch.zeros_like(v)
    for i in range(x.shape[1]):
        scores = torch.stack([score(w, q[:, i], k[:, j], i - j) for j in range(i + 1)], dim=1)
        z[:, i] = torch.einsum("bj,bjd->bd", scores.softmax(1), v[:, : i + 1])
    return z @ w.W_O[at]


def score(w: TransformerWeights, q: Tensor, k: Tensor, offset: int) -> Tensor:
    """q R(offset) k^T / attn_scale, the rotation done pair by pair with complex numbers."""
    if w.rotary_base is not None:
        n, halves = w.rotary_dim // 2, w.rotary_pairs == "halves"
        at = [(i, i + n) if halves else (2 * i, 2 * i + 1) for i in range(n)]
        pairs = torch.stack([torch.complex(q[:, first], q[:, second]) for first, second in at], dim=1)
        frequencies = w.rotary_frequencies or [w.rotary_base ** (-2 * i / w.rotary_dim) for i in range(n)]
        turned = pairs * torch.tensor([cmath.exp(1j * offset * f) for f in frequencies], dtype=torch.complex128)
        q = q.clone()
        for (first, second), pair in zip(at, turned.unbind(1), strict=True):
            q[:, first], q[:, second] = pair.real.to(q), pair.imag.to(q)
    return (q * k).sum(-1) / w.attn_scale
