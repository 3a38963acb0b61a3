"""The transformer, read top to bottom: embed, then layers of attention (and MLP, if any), then unembed.

Names, shapes and hook points are TransformerLens'; rows are vectors (`x @ W`). With h heads:

    scores  = (x W_Q + b_Q) (x W_K + b_K)^T / sqrt(d_head)      masked to -inf above the diagonal, if causal
    pattern = softmax(scores)
    z       = pattern (x W_V + b_V)
    out     = sum_h z W_O + b_O                                  added to the residual stream

where x is the normalised residual stream. Shortformer positions (Press et al. 2020, arXiv:2012.15832) are added to
x on its way into W_Q and W_K only. Smeared keys are those of Olsson et al. 2022 ("In-context Learning and Induction
Heads"); rotary positions those of Su et al. 2021 (arXiv:2104.09864), on neighbouring pairs of numbers.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor, nn

from toy_models.config import TransformerConfig
from toy_models.errors import InputError
from toy_models.hook_point import HookPoint
from toy_models.norm import make_norm, normalise
from toy_models.positions import rotary_angles, rotate, sinusoids
from toy_models.qkv import NamedQKV
from toy_models.stacked import StackedWeights


class Transformer(StackedWeights, nn.Module):
    """A transformer without an encoder; `model(tokens)` gives logits `[batch pos d_vocab]`.

    Weights are drawn from `generator` (or torch's default one): N(0, config.initial_std) for matrices, zero biases,
    unit gains. The stacked views `W_Q [layer head d_model d_head]` and so on are those of TransformerLens.
    """

    def __init__(self, config: TransformerConfig, generator: torch.Generator | None = None):
        super().__init__()
        self.config = config
        self.embed = Embed(config)
        self.hook_embed = HookPoint("batch pos d_model")
        if config.positions in ("shortformer", "standard"):
            self.pos_embed = PosEmbed(config)
            self.hook_pos_embed = HookPoint("batch pos d_model")
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.ln_final = make_norm(config)
        self.unembed = Unembed(config)
        self.initialise(generator)

    def initialise(self, generator: torch.Generator | None) -> None:
        for name, tensor in self.trained_tensors().items():
            if name.rsplit(".", 1)[-1].startswith("W_") and not tensor.is_meta:
                drawn = torch.empty(tensor.shape).normal_(std=self.config.initial_std, generator=generator)
                tensor.copy_(drawn)

    def trained_tensors(self) -> dict[str, Tensor]:
        """The parameters as the state dict has them, W_Q, W_K and W_V apart: views, to read or to write into."""
        fixed = dict(self.named_buffers())
        return {name: tensor for name, tensor in self.state_dict().items() if name not in fixed}

    def forward(self, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos d_vocab"]:
        self.check_tokens(tokens)
        residual = self.hook_embed(self.embed(tokens))
        positions = None
        if self.config.positions in ("shortformer", "standard"):
            table = self.pos_embed.W_pos[: tokens.shape[1]]
            positions = self.hook_pos_embed(table.expand(tokens.shape[0], -1, -1))
        if self.config.positions == "standard":
            residual = residual + positions
        for block in self.blocks:
            residual = block(residual, positions)
        return self.unembed(self.ln_final(residual), self.embed.W_E)

    def check_tokens(self, tokens: Tensor) -> None:
        """`InputError` when the model cannot run on these tokens (range is checked on the CPU only: no GPU sync)."""
        if not isinstance(tokens, Tensor) or tokens.is_floating_point():
            got = tokens.dtype if isinstance(tokens, Tensor) else f"a {type(tokens).__name__}"
            raise InputError(f"tokens must be a tensor of whole numbers, [batch pos], got {got}")
        if tokens.ndim != 2 or tokens.shape[1] == 0:
            raise InputError(f"tokens must be [batch pos] with at least one position, got {list(tokens.shape)}")
        if tokens.shape[1] > self.config.n_ctx:
            raise InputError(
                f"the sequence has {tokens.shape[1]} tokens, the model's context holds {self.config.n_ctx}"
            )
        if tokens.device.type == "cpu" and tokens.numel():
            low, high = (int(bound) for bound in tokens.aminmax())
            if low < 0 or high >= self.config.d_vocab:
                raise InputError(
                    f"token {low if low < 0 else high} is outside the vocabulary 0..{self.config.d_vocab - 1}"
                )


class Embed(nn.Module):
    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.W_E = nn.Parameter(torch.empty(config.d_vocab, config.d_model))

    def forward(self, tokens: Tensor) -> Tensor:
        return F.embedding(tokens, self.W_E)


class PosEmbed(nn.Module):
    """A learned table, or the sinusoids of Vaswani et al. 2017 as a buffer that is not trained."""

    W_pos: Tensor

    def __init__(self, config: TransformerConfig):
        super().__init__()
        if config.learned_positions:
            self.W_pos = nn.Parameter(torch.empty(config.n_ctx, config.d_model))
        else:
            # Among token embeddings of this size, sines of amplitude 1 would drown them.
            amplitude = math.sqrt(2) * config.initial_std if config.positions == "standard" else 1.0
            self.register_buffer("W_pos", amplitude * sinusoids(config.n_ctx, config.d_model))


class Block(nn.Module):
    """residual -> residual + attention(norm(residual)) [-> + mlp(norm(...))]."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.hook_resid_pre = HookPoint("batch pos d_model")
        self.hook_q_input = HookPoint("batch pos head d_model", on_request=True)
        self.hook_k_input = HookPoint("batch pos head d_model", on_request=True)
        self.hook_v_input = HookPoint("batch pos head d_model", on_request=True)
        self.ln1 = make_norm(config)
        self.attn = Attention(config)
        self.hook_attn_out = HookPoint("batch pos d_model")
        self.adds_positions = config.positions == "shortformer"
        self.has_mlp = config.d_mlp > 0
        if self.has_mlp:
            self.hook_resid_mid = HookPoint("batch pos d_model")
            self.ln2 = make_norm(config)
            self.mlp = MLP(config)
            self.hook_mlp_out = HookPoint("batch pos d_model")
        self.hook_resid_post = HookPoint("batch pos d_model")

    def forward(self, residual: Tensor, positions: Tensor | None) -> Tensor:
        residual = self.hook_resid_pre(residual)
        x = self.ln1(residual)
        added = positions if self.adds_positions else None
        x_qk = x if added is None else x + added
        q_in = self.split_input(self.hook_q_input, residual, added, x_qk)
        k_in = self.split_input(self.hook_k_input, residual, added, x_qk)
        v_in = self.split_input(self.hook_v_input, residual, None, x)
        residual = residual + self.hook_attn_out(self.attn(q_in, k_in, v_in))
        if self.has_mlp:
            residual = self.hook_resid_mid(residual)
            residual = residual + self.hook_mlp_out(self.mlp(self.ln2(residual)))
        return self.hook_resid_post(residual)

    def split_input(self, point: HookPoint, residual: Tensor, added: Tensor | None, shared: Tensor) -> Tensor:
        """What Q, K or V reads: `shared` [batch pos d_model], or one copy per head when `point` is watched.

        The copies are of the residual stream before normalisation, each is normalised by itself (without passing
        ln1's own hook points).
        """
        if not point.watched:
            return shared
        copies = residual.unsqueeze(2).expand(-1, -1, self.attn.n_heads, -1)
        x = normalise(self.ln1, point(copies))
        return x if added is None else x + added.unsqueeze(2)


class Attention(NamedQKV):
    """Reads q, k and v of all heads by one product with W_QKV; `W_Q [head d_model d_head]` and so on are its parts."""

    cos: Tensor
    sin: Tensor

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.n_heads, self.d_head = config.n_heads, config.d_head
        self.causal = config.attention_dir == "causal"
        self.W_QKV = nn.Parameter(torch.empty(3, config.n_heads, config.d_head, config.d_model))
        self.W_O = nn.Parameter(torch.empty(config.n_heads, config.d_head, config.d_model))
        self.b_QKV = nn.Parameter(torch.zeros(3, config.n_heads, config.d_head)) if config.biases else None
        self.b_O = nn.Parameter(torch.zeros(config.d_model)) if config.biases else None
        self.hook_q = HookPoint("batch pos head d_head")
        self.hook_k = HookPoint("batch pos head d_head")
        self.hook_v = HookPoint("batch pos head d_head")
        self.smear = nn.Parameter(torch.zeros(config.n_heads)) if config.smeared_keys else None
        if config.smeared_keys:
            self.hook_smeared_k = HookPoint("batch pos head d_head")
        self.rotates = config.positions == "rotary"
        if self.rotates:
            self.rotary = (config.n_ctx, config.d_head, config.rotary_base)
            for name, turn in self.turns().items():
                self.register_buffer(name, turn, persistent=False)
            self.hook_rot_q = HookPoint("batch pos head d_head")
            self.hook_rot_k = HookPoint("batch pos head d_head")
        self.hook_attn_scores = HookPoint("batch head dest src")
        self.hook_pattern = HookPoint("batch head dest src")
        self.hook_z = HookPoint("batch pos head d_head")

    def forward(self, q_in: Tensor, k_in: Tensor, v_in: Tensor) -> Tensor:
        if q_in is k_in and k_in is v_in:
            q, k, v = self.project_together(q_in)  # batch pos head d_head
        else:
            q, k = project(q_in, self.W_Q, self.b_Q), project(k_in, self.W_K, self.b_K)
            v = project(v_in, self.W_V, self.b_V)
        q, k, v = self.hook_q(q), self.hook_k(k), self.hook_v(v)
        if self.smear is not None:
            k = self.hook_smeared_k(smear(k, self.smear.sigmoid()))
        if self.rotates:
            q = self.hook_rot_q(rotate(q, self.cos, self.sin))
            k = self.hook_rot_k(rotate(k, self.cos, self.sin))
        z = self.hook_z(self.mix(q, k, v))
        return F.linear(z.flatten(2), self.W_O.flatten(0, 1).T, self.b_O)  # batch pos d_model

    def turns(self) -> dict[str, Tensor]:
        """Cosines and sines of the rotary angles, in the precision and place of the weights."""
        angles = rotary_angles(*self.rotary)
        return {"cos": angles.cos().to(self.W_O), "sin": angles.sin().to(self.W_O)}

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Attention":
        """Converts the module; angles are rounded anew, so that a model in float64 has them as exact as its weights."""
        super()._apply(fn, recurse)
        if self.rotates:
            self.cos, self.sin = self.turns().values()
        return self

    def project_together(self, x: Tensor) -> tuple[Tensor, ...]:
        """q, k and v of one input by one matrix product."""
        b = None if self.b_QKV is None else self.b_QKV.flatten()
        out = F.linear(x, self.W_QKV.flatten(0, 2), b)
        return out.view(*x.shape[:2], 3, self.n_heads, self.d_head).unbind(2)

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """pattern @ v: by the fused kernel, or step by step when scores or pattern are watched."""
        if not (self.hook_attn_scores.watched or self.hook_pattern.watched):
            q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
            return F.scaled_dot_product_attention(q, k, v, is_causal=self.causal).transpose(1, 2)
        scaled = q / math.sqrt(self.d_head)
        scores = einsum(scaled, k, "batch dest head d, batch src head d -> batch head dest src")
        if self.causal:
            future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
            scores = scores.masked_fill(future, -torch.inf)
        scores = self.hook_attn_scores(scores)
        pattern = self.hook_pattern(scores.softmax(-1))
        return einsum(pattern, v, "batch head dest src, batch src head d -> batch dest head d")


class MLP(nn.Module):
    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.W_in = nn.Parameter(torch.empty(config.d_model, config.d_mlp))
        self.b_in = nn.Parameter(torch.zeros(config.d_mlp)) if config.biases else None
        self.W_out = nn.Parameter(torch.empty(config.d_mlp, config.d_model))
        self.b_out = nn.Parameter(torch.zeros(config.d_model)) if config.biases else None
        self.hook_pre = HookPoint("batch pos unit")
        self.hook_post = HookPoint("batch pos unit")
        self.activation: Callable[[Tensor], Tensor] = F.gelu if config.activation == "gelu" else F.relu

    def forward(self, x: Tensor) -> Tensor:
        pre = self.hook_pre(F.linear(x, self.W_in.T, self.b_in))
        return F.linear(self.hook_post(self.activation(pre)), self.W_out.T, self.b_out)


class Unembed(nn.Module):
    """Logits; with tied embeddings W_U is W_E transposed and no parameter of its own."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        untied = not config.tied_embeddings
        self.W_U = nn.Parameter(torch.empty(config.d_model, config.d_vocab)) if untied else None
        self.b_U = nn.Parameter(torch.zeros(config.d_vocab)) if config.biases else None

    def forward(self, x: Tensor, W_E: Tensor) -> Tensor:
        return F.linear(x, W_E if self.W_U is None else self.W_U.T, self.b_U)


def project(x: Tensor, W: Tensor, b: Tensor | None) -> Tensor:
    """x W + b for every head: x is [batch pos d_model], or [batch pos head d_model] with a copy per head."""
    if x.ndim == 4:
        out = einsum(x, W, "batch pos head m, head m d -> batch pos head d")
        return out if b is None else out + b
    flat = W.transpose(1, 2).flatten(0, 1)  # (head d_head) d_model
    out = F.linear(x, flat, None if b is None else b.flatten())
    return out.unflatten(-1, (W.shape[0], W.shape[2]))


def smear(k: Tensor, share: Tensor) -> Tensor:
    """k_j -> s k_j + (1 - s) k_{j-1}, the first key unchanged; `share` is s per head."""
    before = torch.cat([k[:, :1], k[:, :-1]], dim=1)
    s = share[:, None]
    return s * k + (1 - s) * before
