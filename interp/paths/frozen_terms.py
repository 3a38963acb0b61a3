"""Outputs of heads and chains in a frozen run, and the loss of any sum of them."""

from collections.abc import Collection, Iterable

import torch
from einops import einsum
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.causality import require_causal
from interp.errors import InputError
from interp.lens.predictions import scored_predictions
from interp.names import Head
from interp.paths.frozen import FrozenRun
from interp.paths.path import checked_chain

Residual = Float[Tensor, "batch pos d_model"]


def direct(run: FrozenRun, layer: int | None = None) -> Residual:
    """All that is not of heads in the residual stream before a layer's attention (None: before the unembedding)."""
    return torch.stack(list(run.written_before(layer).values())).sum(0)


def head_outputs(run: FrozenRun, layer: int, x: Residual) -> Float[Tensor, "batch pos head d_model"]:
    """A (x / scale W_V + b_V) W_O of every head of a layer, reading x."""
    w = run.weights
    v = einsum(x / run.scales[layer][..., None], w.W_V[layer], "batch pos m, head m d -> batch head pos d")
    z = run.patterns[layer] @ (v + w.b_V[layer][:, None])
    return einsum(z, w.W_O[layer], "batch head pos d, head d m -> batch pos head m")


def first_order_outputs(run: FrozenRun) -> list[Float[Tensor, "batch pos head d_model"]]:
    """What the heads of each layer write when they read no other head."""
    return [head_outputs(run, layer, direct(run, layer)) for layer in range(run.n_layers)]


def order_residuals(run: FrozenRun) -> list[Residual]:
    """The final residual stream made of paths through at most 0, 1, 2 ... heads (the last is the model's own).

    By the procedure of Elhage et al. 2021: with patterns held, each pass reads the head outputs of the pass before.
    """
    end, layers = direct(run), range(run.n_layers)
    inputs = [direct(run, layer) for layer in layers]
    written = [torch.zeros_like(end) for _ in layers]
    found = [end]
    for _ in layers:
        read = [sum(written[:layer], x) for layer, x in enumerate(inputs)]
        written = [head_outputs(run, layer, x).sum(2) for layer, x in enumerate(read)]
        found.append(sum(written, end))
    return found


def residual_without(run: FrozenRun, silent: Collection[tuple[int, int]]) -> Residual:
    """The final residual stream when these heads write nothing and all patterns and scales stay: every path through
    any of them is gone (pattern-preserving ablation, Olsson et al. 2022)."""
    written = torch.zeros_like(direct(run))
    for layer in range(run.n_layers):
        out = head_outputs(run, layer, direct(run, layer) + written)
        spoken = [index for index in range(run.n_heads) if (layer, index) not in silent]
        written = written + out[:, :, spoken].sum(2)
    return direct(run) + written


def chain_output(run: FrozenRun, chain: Iterable[tuple[int, int] | str]) -> Residual:
    """What one chain of heads writes: its virtual head's output, over all sources and with its first head's b_V.

    Raises `InputError` for an empty chain, or one that does not run forward through heads that exist.
    """
    heads = checked_chain(chain, run.n_layers, run.n_heads)
    if not heads:
        raise InputError("a chain needs at least one head; name them in order of depth")
    first, *rest = heads
    out = head_outputs(run, first.layer, direct(run, first.layer))[:, :, first.index]
    for head in rest:
        out = onward(run, head, out)
    return out


def onward(run: FrozenRun, head: Head, x: Residual) -> Residual:
    """What a head makes of x, its value bias aside."""
    w = run.weights
    v = (x / run.scales[head.layer][..., None]) @ w.W_V[head]
    return run.patterns[head.layer][:, head.index] @ v @ w.W_O[head]


class SequenceLoss:
    """Mean loss of the scored predictions of each sequence, for a final residual stream; the final scale is held."""

    def __init__(
        self,
        run: FrozenRun,
        scored: Bool[Tensor, "batch pos"] | None = None,
        targets: Int[Tensor, "batch pos"] | None = None,
    ):
        """`scored[b, i]`: the token at i counts (by default all but the first). Or `targets[b, p]`: what position p is
        to predict, -1 where that does not count. `InputError` for both, or unless two sequences have a prediction."""
        if targets is None:
            require_causal(run.weights, "the loss of the next token")
            mask = torch.nn.functional.pad(scored_predictions(run.tokens, scored), (0, 1))
            targets = run.tokens.roll(-1, dims=1)
        else:
            mask = checked_targets(run, targets, scored) >= 0
        self.rows = mask.any(1)
        if int(self.rows.sum()) < 2:
            raise InputError("an interval over sequences needs scored tokens in at least two of them")
        self.run = run
        self.target = targets.to(run.tokens)[self.rows].clamp_min(0)
        self.weight = mask[self.rows].double() / mask[self.rows].sum(1, keepdim=True)

    def __call__(self, residual: Residual) -> Float[Tensor, " sequence"]:
        """Nats per prediction."""
        w = self.run.weights
        x = residual[self.rows] / self.run.final_scale[self.rows][..., None]
        return self.of_logits(x @ w.W_U + w.b_U)

    def of_model(self) -> Float[Tensor, " sequence"]:
        """Of the logits that the model itself gave."""
        return self.of_logits(self.run.logits[self.rows])

    def of_logits(self, logits: Float[Tensor, "sequence pos d_vocab"]) -> Float[Tensor, " sequence"]:
        losses = -logits.double().log_softmax(-1).gather(-1, self.target[..., None])[..., 0]
        return (losses * self.weight).sum(1)


def checked_targets(
    run: FrozenRun, targets: Int[Tensor, "batch pos"], scored: Tensor | None
) -> Int[Tensor, "batch pos"]:
    """The targets on the run's device; `InputError` for what they cannot be."""
    if scored is not None:
        raise InputError("scored and targets exclude each other: targets of -1 already say what does not count")
    d_vocab = run.logits.shape[-1]
    if targets.shape != run.tokens.shape or not -1 <= int(targets.min()) <= int(targets.max()) < d_vocab:
        raise InputError(
            f"targets must be [batch pos] {list(run.tokens.shape)} of tokens 0..{d_vocab - 1} or -1, got "
            f"{list(targets.shape)} from {int(targets.min())} to {int(targets.max())}"
        )
    return targets.to(run.tokens.device)
