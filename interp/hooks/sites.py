"""Places in a model where values pass, and how a hook is put there: any module's output, TransformerLens' points."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from interp.hooks.activations import Axes
from interp.names import axes_of

Hook = Callable[[Any], Any]
"""Gets the value that passes; what it returns, if not None, takes the value's place."""
Remove = Callable[[], None]


class Site:
    """The output of a module. A module with `.axes` is a hook point: its value is named, and never written in place."""

    problem: Callable[[Any], str] | None = None
    """Says why a value is not what the point's name says, if so."""

    def __init__(self, module: nn.Module):
        self.module = module
        self.axes: Axes | None = vars(module).get("axes")
        self.is_point = self.axes is not None or type(module).__name__ == "HookPoint"
        self.on_request: bool = vars(module).get("on_request", False)
        self.keeps_still = self.axes is not None
        """Whether nobody writes into the value after it passed."""
        self.refuses_edits = ""
        """Why a value put here would not take effect, if so."""

    @property
    def is_leaf(self) -> bool:
        """Whether the module computes by itself; a parametrised module's children only make its weights."""
        return all(name == "parametrizations" for name, _ in self.module.named_children())

    def attach(self, on_value: Hook) -> Remove:
        return self.module.register_forward_hook(lambda module, args, value: on_value(value)).remove


class LensSite(Site):
    """A TransformerLens hook point, through its own `add_hook`: some parts of a bridge ask whether it has any.

    Values come and go in TransformerLens' documented shapes (its hook points convert them).
    """

    def __init__(self, point: nn.Module, axes: Axes | None):
        super().__init__(point)
        self.axes, self.is_point = axes, True

    def attach(self, on_value: Hook) -> Remove:
        point: Any = self.module
        handle = point.add_hook(lambda value, hook: on_value(value))

        def remove() -> None:
            handle.hook.remove()
            point.fwd_hooks[:] = [h for h in point.fwd_hooks if h is not handle]

        return remove


NO_SCORE_EDITS = (
    "TransformerLens fires it after the attention has used the scores, so an edit would do nothing; "
    "edit hook_pattern instead"
)


class ForeignScores(LensSite):
    """`hook_attn_scores` of a bridge over a foreign model: used only if it really holds scores.

    TransformerLens 4.3 fires this point with the pattern, after softmax, wherever it leaves attention to the model.
    Where it holds scores, masked ones are the lowest number there is instead of the -inf that is documented.
    """

    def attach(self, on_value: Hook) -> Remove:
        def see(value: Any) -> None:
            on_value(masked_as_documented(value) if isinstance(value, Tensor) else value)

        return super().attach(see)

    def problem(self, value: Any) -> str:
        looks_like_a_pattern = (
            isinstance(value, Tensor)
            and bool((value >= 0).all())
            and torch.allclose(value.sum(-1), value.new_ones(()), atol=1e-3)
        )
        return (
            "this bridge's hook_attn_scores holds the pattern after softmax, not the scores: record hook_pattern, or "
            "compute the scores from hook_q and hook_k"
            if looks_like_a_pattern
            else ""
        )


def masked_as_documented(scores: Tensor) -> Tensor:
    return scores.masked_fill(scores <= torch.finfo(scores.dtype).min / 2, -math.inf)


class NativeScores(Site):
    """`hook_attn_scores` of a bridge over TransformerLens' own model, recomputed from q and k as they pass.

    q k^T / sqrt(d_head), with q and k rotated where positions are rotary, -inf where masked: what the point is
    documented to hold. (In TransformerLens 4.3 it holds the pattern.)
    """

    def __init__(self, point: nn.Module, q: LensSite, k: LensSite, attention: Any):
        super().__init__(point)
        self.axes, self.is_point = axes_of("hook_attn_scores"), True
        self.refuses_edits = NO_SCORE_EDITS
        self.q, self.k, self.attention = q, k, attention

    def attach(self, on_value: Hook) -> Remove:
        seen: dict[str, Tensor] = {}

        def see(name: str, value: Tensor) -> None:
            seen[name] = value
            if len(seen) == 2:
                on_value(native_scores(self.attention, seen.pop("q"), seen.pop("k")))

        remove_q = self.q.attach(lambda value: see("q", value))
        remove_k = self.k.attach(lambda value: see("k", value))

        def remove() -> None:
            remove_q()
            remove_k()

        return remove


def native_scores(attention: Any, q: Tensor, k: Tensor) -> Tensor:
    """Scores [batch head dest src] as TransformerLens' NativeAttention makes them of q, k [batch pos head d_head]."""
    q, k = q.transpose(1, 2), k.transpose(1, 2)
    if attention.rotary is not None:
        q, k = attention.rotary.apply_rope(q, k)
    k = k.repeat_interleave(attention.kv_repeats, dim=1)
    scores = q @ k.transpose(-2, -1) / attention.scale
    cap = attention.attn_scores_soft_cap
    if cap > 0:
        scores = cap * torch.tanh(scores / cap)
    if attention.causal:
        pos = scores.shape[-1]
        scores = scores.masked_fill(attention.causal_mask[:pos, :pos], -math.inf)
    return scores


def sites_of(model: nn.Module) -> dict[str, Site]:
    """Every place of the model by name: TransformerLens' hook points and aliases, or module paths."""
    points = getattr(model, "hook_dict", None)
    if isinstance(points, dict) and points:
        return lens_sites(points, model)
    return {name: Site(module) for name, module in model.named_modules() if name}


def lens_sites(points: dict[str, Any], model: Any) -> dict[str, Site]:
    axes = {id(point): axes_of(name) for name, point in points.items() if axes_of(name)}
    sites: dict[str, Site] = {name: LensSite(point, axes.get(id(point))) for name, point in points.items()}
    if hasattr(model, "original_model"):  # a bridge; a HookedRootModule's points hold what their writer put there
        for name in points:
            if name.endswith(".hook_attn_scores"):
                sites[name] = score_site(name, points, model)
    return sites


def score_site(name: str, points: dict[str, Any], model: Any) -> Site:
    parent = name.removesuffix(".hook_attn_scores")
    q, k = points.get(f"{parent}.hook_q"), points.get(f"{parent}.hook_k")
    try:
        attention = model.get_submodule(parent).original_component
    except AttributeError:
        attention = None
    if type(attention).__name__ == "NativeAttention" and q is not None and k is not None:
        return NativeScores(points[name], LensSite(q, None), LensSite(k, None), attention)
    site = ForeignScores(points[name], axes_of(name))
    site.refuses_edits = NO_SCORE_EDITS
    return site
