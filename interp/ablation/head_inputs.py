"""Changing what one head reads as its query, key or value alone, in any model whose weights are read.

Our transformer runs with inputs split by head wherever these are watched. Behind a TransformerLens bridge all heads
read one stream, and grouped queries share their keys and values: there a changed head is computed anew while the model
runs, from the residual stream x that its layer reads, with N the normalisation and R rotary positions,

    pattern = softmax(q k^T / attn_scale)    q = R (N(x + change_Q) W_Q + b_Q)    k = R (N(x + change_K) W_K + b_K)
    z = z + pattern (N(x + change_V) - N(x)) W_V

with no attention ahead (of a causal model), nor beyond a sliding window. Nothing else of the run is touched: other
heads of a group keep their keys and values.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from interp.errors import InputError
from interp.hooks import record
from interp.hooks.sites import sites_of
from interp.names import Head, k_input_name, pattern_name, q_input_name, resid_pre_name, v_input_name, z_name
from interp.weights import TransformerWeights
from interp.weights.rotation import rotated

Channel = Literal["Q", "K", "V"]
INPUT_NAMES = {"Q": q_input_name, "K": k_input_name, "V": v_input_name}
Change = tuple[slice, Callable[[], Tensor]]
"""Sequences of a batch, and what is added to an input there: [batch pos d_model], asked for when it is read."""
Edit = Callable[[Tensor], Tensor]
TOLERANCE = 5e-3
"""How far attention computed anew may be from the model's own, in shares of attention; 16 roundings if that is more."""


def has_split_inputs(model: nn.Module) -> bool:
    """Whether the model itself runs with an input for each head (bridges list such points, and never pass them)."""
    site = sites_of(model).get(q_input_name(0))
    return site is not None and site.on_request


def head_input_edits(
    model: nn.Module, w: TransformerWeights, changes: Mapping[tuple[Head, Channel], Iterable[Change]]
) -> dict[str, Edit]:
    """For `intervene`: adds to inputs of heads, before they are normalised; `w` is the model's, unfolded."""
    by_layer: dict[int, dict[Channel, dict[int, list[Change]]]] = {}
    for (head, channel), each in changes.items():
        by_layer.setdefault(head.layer, {}).setdefault(channel, {})[head.index] = list(each)
    if has_split_inputs(model):
        return {
            INPUT_NAMES[channel](layer): partial(_add_by_head, by_head)
            for layer, by_channel in by_layer.items()
            for channel, by_head in by_channel.items()
        }
    edits: dict[str, Edit] = {}
    for layer, by_channel in by_layer.items():
        edits |= _Anew(w, layer, window_of(model, layer), by_channel).edits
    return edits


def chained(*edits: Mapping[str, Edit]) -> dict[str, Edit]:
    """All of these edits; where several are of one point, one after the other."""
    made: dict[str, Edit] = {}
    for each in edits:
        for point, edit in each.items():
            made[point] = partial(_both, made[point], edit) if point in made else edit
    return made


@torch.no_grad()
def check_computed_anew(
    model: nn.Module, w: TransformerWeights, tokens: Int[Tensor, "batch pos"], layers: Iterable[int] | None = None
) -> None:
    """`InputError` unless these layers' attention, computed anew from `w`, is what the model runs on these tokens.

    Patterns and outputs z of every head are compared, within `TOLERANCE`. Nothing is run where the model has inputs
    split by head.
    """
    chosen = list(range(w.n_layers) if layers is None else layers)
    if has_split_inputs(model) or not chosen:
        return
    seen: dict[str, Tensor] = {}
    tolerance = max(TOLERANCE, 16 * torch.finfo(w.dtype).eps)

    def compare(name: str, value: Tensor) -> None:
        seen[name] = value
        for layer in chosen:
            if name == z_name(layer):
                far = _distance(w, layer, window_of(model, layer), seen)
                seen.clear()
                if not far <= tolerance:
                    raise InputError(
                        f"what single heads read is changed by computing their attention anew from the weights, and "
                        f"for this {type(model).__name__} that is {far:.2g} off in layer {layer} (at most "
                        f"{tolerance:.2g}): it attends in a way that its weights do not show"
                    )

    record(model, tokens, names=[p(at) for at in chosen for p in (resid_pre_name, pattern_name, z_name)], sink=compare)


def _distance(w: TransformerWeights, layer: int, window: int | None, seen: Mapping[str, Tensor]) -> float:
    """The largest difference in any entry of a pattern, or of z in units of the largest value."""
    x, pattern, z = (seen[point(layer)] for point in (resid_pre_name, pattern_name, z_name))
    far = []
    for index in range(w.n_heads):
        head = Head(layer, index)
        own, v = head_pattern(w, head, x, x, window), project(w, "V", head, x)
        largest = v.abs().max().clamp_min(torch.finfo(v.dtype).tiny)  # an idle head's values may all be 0
        far += [(own - pattern[:, index]).abs().max(), (own @ v - z[:, :, index]).abs().max() / largest]
    return float(torch.stack(far).nan_to_num(torch.inf).max())


def window_of(model: Any, layer: int) -> int | None:
    """How many positions, its own included, a query of this layer sees in a model of Hugging Face; None: all."""
    config = getattr(getattr(model, "original_model", None), "config", None)
    kinds = getattr(config, "layer_types", None)
    return getattr(config, "sliding_window", None) if kinds is None or kinds[layer] == "sliding_attention" else None


def head_pattern(
    w: TransformerWeights,
    head: Head,
    q_in: Float[Tensor, "batch pos d_model"],
    k_in: Float[Tensor, "batch pos d_model"],
    window: int | None = None,
) -> Float[Tensor, "batch dest src"]:
    """softmax(q k^T / attn_scale) of the streams that queries and keys read; at least in float32."""
    q, k = rotated(w, project(w, "Q", head, q_in)), rotated(w, project(w, "K", head, k_in))
    at = torch.arange(q.shape[-2], device=q.device)
    back = at[:, None] - at
    hidden = (back < 0) & (w.attention_dir == "causal") | (back >= (len(at) if window is None else window))
    return (q @ k.mT / w.attn_scale).masked_fill(hidden, -torch.inf).softmax(-1)


def project(
    w: TransformerWeights, channel: Channel, head: Head, x: Float[Tensor, "batch pos d_model"], bias: bool = True
) -> Float[Tensor, "batch pos d_head"]:
    """N(x) W + b of one head, before rotation; at least in float32."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    gain, shift = (None if each is None else each[head.layer].to(dtype) for each in (w.ln1_w, w.ln1_b))
    W, b = (getattr(w, f"{kind}_{channel}")[head].to(dtype) for kind in "Wb")
    out = w.normalise(x.to(dtype), gain, shift) @ W
    return out + b if bias else out


@dataclass
class _Anew:
    """The changed heads of one layer, computed from what passes its hook points in the same run."""

    w: TransformerWeights
    layer: int
    window: int | None
    changes: Mapping[Channel, Mapping[int, list[Change]]]
    passed: dict[str, Tensor] = field(default_factory=dict)

    @property
    def edits(self) -> dict[str, Edit]:
        matched = {index: None for channel in ("Q", "K") for index in self.changes.get(channel, {})}
        keep: dict[str, Edit] = {resid_pre_name(self.layer): partial(self._keep, "stream")}
        if matched:
            keep = chained(keep, {pattern_name(self.layer): partial(self._match, list(matched))})
        if "V" not in self.changes:
            return keep
        pattern = {pattern_name(self.layer): partial(self._keep, "pattern")}
        return chained(keep, pattern, {z_name(self.layer): self._move})

    def _keep(self, what: str, value: Tensor) -> Tensor:
        self.passed[what] = value
        return value

    def _match(self, indices: list[int], pattern: Tensor) -> Tensor:
        """New patterns for heads whose queries or keys changed, in the sequences where they did."""
        x = self.passed["stream"]
        for index in indices:
            touched = torch.zeros(len(x), dtype=torch.bool, device=x.device)
            inputs = []
            for channel in ("Q", "K"):
                changed = x.clone()
                for rows, change in self.changes.get(channel, {}).get(index, []):
                    changed[rows] += change()
                    touched[rows] = True
                inputs.append(changed)
            q_in, k_in = (each[touched] for each in inputs)
            found = head_pattern(self.w, Head(self.layer, index), q_in, k_in, self.window)
            pattern[touched, index] = found.to(pattern)
        return pattern

    def _move(self, z: Tensor) -> Tensor:
        """What changed values add to z; one head's use of them alone."""
        x, pattern = self.passed["stream"], self.passed["pattern"]
        for index, each in self.changes["V"].items():
            head = Head(self.layer, index)
            for rows, change in each:
                after, before = (project(self.w, "V", head, y, bias=False) for y in (x[rows] + change(), x[rows]))
                z[rows, :, index] += (pattern[rows, index].to(after) @ (after - before)).to(z)
        return z


def _add_by_head(changes: Mapping[int, list[Change]], value: Tensor) -> Tensor:
    for index, each in changes.items():
        for rows, change in each:
            value[rows, :, index] += change()
    return value


def _both(first: Edit, second: Edit, value: Tensor) -> Tensor:
    return second(first(value))
