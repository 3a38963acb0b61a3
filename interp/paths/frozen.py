"""One run of a model with its attention patterns and normalisation scales held: what is left is linear in the tokens.

With patterns A and scales s held at the values they had, every head adds A (x / s W_V + b_V) W_O to the residual
stream, so what reaches a logit or a later head is a sum over paths. Paths, virtual heads and term importance all
start from a `FrozenRun`.
"""

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from interp import names
from interp.errors import InputError
from interp.finite import require_finite
from interp.hooks import record
from interp.inputs import checked
from interp.lens.attribution import final_scale
from interp.weights import TransformerWeights, weights_of
from interp.weights.folding import fold


@dataclass(frozen=True, eq=False)
class FrozenRun:
    """Everything that is held, and the logits that came of it. Without normalisation all scales are 1."""

    weights: TransformerWeights
    """Folded: nothing but the held scales stands before a read."""
    tokens: Int[Tensor, "batch pos"]
    patterns: tuple[Float[Tensor, "batch head dest src"], ...]
    """Of each layer."""
    scores: tuple[Float[Tensor, "batch head dest src"], ...]
    """Of each layer, before the softmax, -inf where masked; empty unless asked for."""
    scales: tuple[Float[Tensor, "batch pos"], ...]
    """What the residual stream is divided by before each layer's attention."""
    final_scale: Float[Tensor, "batch pos"]
    """The same before the unembedding."""
    mlp_outs: tuple[Float[Tensor, "batch pos d_model"], ...]
    """What each layer's MLP wrote, its bias included; empty in an attention-only model."""
    logits: Float[Tensor, "batch pos d_vocab"]
    """The model's own, from the same run."""

    def __repr__(self) -> str:
        return f"FrozenRun({self.n_layers} layers x {self.n_heads} heads, tokens {list(self.tokens.shape)})"

    @property
    def n_layers(self) -> int:
        return self.weights.n_layers

    @property
    def n_heads(self) -> int:
        return self.weights.n_heads

    def written_before(self, layer: int | None) -> dict[str, Float[Tensor, "batch pos d_model"]]:
        """What others than heads have written before a layer's attention (None: before the unembedding), by name.

        "token", "position" (standard positions only), "bias" (the b_O of earlier layers, where not all are 0) and
        "L0 MLP" and so on; with the heads' outputs they add up to the (folded) residual stream.
        """
        w, end = self.weights, self.n_layers if layer is None else layer
        found = {"token": w.W_E[self.tokens]}
        if w.W_pos is not None:
            found["position"] = w.W_pos[: self.tokens.shape[1]].expand_as(found["token"])
        if bool(w.b_O[:end].any()):
            found["bias"] = w.b_O[:end].sum(0).expand_as(found["token"])
        return found | {f"L{before} MLP": out for before, out in enumerate(self.mlp_outs[:end])}

    def select(self, rows: slice) -> "FrozenRun":
        """The same run for some of its sequences."""
        return FrozenRun(
            self.weights,
            self.tokens[rows],
            tuple(each[rows] for each in self.patterns),
            tuple(each[rows] for each in self.scores),
            tuple(each[rows] for each in self.scales),
            self.final_scale[rows],
            tuple(each[rows] for each in self.mlp_outs),
            self.logits[rows],
        )


@checked
@torch.no_grad()
def freeze(model: nn.Module, tokens: Int[Tensor, "*shape"], scores: bool = False) -> FrozenRun:
    """Run the model once and hold its patterns and scales; with `scores`, keep the attention scores too.

    Everything is in the model's own precision: identities hold to rounding error in float64.
    Raises `InputError` for models whose weights cannot be read or folded (see `weights_of`), and for tokens that are
    not [batch pos], outside the vocabulary, or more than the context holds.
    """
    plain = weights_of(model, fold=False)
    check_tokens(plain, tokens)
    folded, layers = fold(plain), range(plain.n_layers)
    kinds = [names.pattern_name, names.resid_pre_name, *([names.scores_name] if scores else [])]
    kinds += [names.mlp_out_name] if plain.W_in is not None else []
    wanted = [kind(layer) for layer in layers for kind in kinds]
    last = names.resid_post_name(plain.n_layers - 1) if plain.n_layers else names.embed_name()
    scale = partial(final_scale, plain)
    reduce = {name: scale for name in (*wanted, last) if name.endswith(("hook_resid_pre", "hook_resid_post"))}
    run = record(model, tokens, names=[*wanted, last], reduce=reduce)
    require_finite("the logits", run.output)
    tokens = tokens.to(run.output.device)
    mlp_outs = [run[names.mlp_out_name(layer)] for layer in layers] if plain.W_in is not None else []
    if plain.normalization in ("LN", "LNPre"):
        mlp_outs = [out - out.mean(-1, keepdim=True) for out in mlp_outs]
    return FrozenRun(
        folded,
        tokens,
        tuple(run[names.pattern_name(layer)] for layer in layers),
        tuple(run[names.scores_name(layer)] for layer in layers) if scores else (),
        tuple(run[names.resid_pre_name(layer)] for layer in layers),
        run[last] if plain.n_layers else scale(embedded(plain, run[last])),
        tuple(mlp_outs),
        run.output,
    )


def check_tokens(w: TransformerWeights, tokens: Int[Tensor, "*shape"]) -> None:
    if tokens.ndim != 2 or not tokens.numel():
        raise InputError(f"tokens must be [batch pos] with at least one of each, got {list(tokens.shape)}")
    if tokens.shape[1] > w.n_ctx:
        raise InputError(f"sequences of {tokens.shape[1]} tokens do not fit the model's context of {w.n_ctx}")
    low, high = int(tokens.min()), int(tokens.max())
    if low < 0 or high >= w.d_vocab:
        raise InputError(f"token {low if low < 0 else high} is outside the vocabulary 0..{w.d_vocab - 1}")


def embedded(w: TransformerWeights, tokens: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_model"]:
    """The token embedding with positions, where they are added to the residual stream."""
    return tokens if w.W_pos is None else tokens + w.W_pos[: tokens.shape[1]]
