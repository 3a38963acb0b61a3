"""How much of a component's direct effect on the prediction runs through the final scale."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from einops import einsum
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from interp import names
from interp.causality import require_causal
from interp.errors import InputError
from interp.hooks import record
from interp.inputs import checked
from interp.lens.attribution import final_residual, final_scale, written_points
from interp.lens.predictions import scored_predictions
from interp.norms.reads import Read, normalised
from interp.stats import Estimates, bootstrap_intervals
from interp.weights import TransformerWeights, weights_of

FINAL = Read(None, "unembedding")


@dataclass(frozen=True, eq=False)
class DirectEffects:
    """ln p of the next token that is lost without what a component wrote into the final residual stream, nats."""

    components: tuple[str, ...]
    held: Estimates
    """With the final scale held at its value, [component]."""
    free: Estimates
    """With the scale of the changed stream: what direct removal really does, [component]."""
    through: Estimates
    """Free minus held, paired by sequence: what runs through the scale, [component]."""
    random_held: Estimates
    """The same for what the component writes turned by a random rotation: as long, pointing nowhere, [component]."""
    random_through: Estimates

    def to_dict(self) -> dict[str, Any]:
        parts = ("held", "free", "through", "random_held", "random_through")
        return {"components": list(self.components), **{name: getattr(self, name).to_dict() for name in parts}}


@checked
@torch.no_grad()
def direct_effects(
    model: nn.Module,
    tokens: Int[Tensor, "batch pos"],
    generator: torch.Generator,
    scored: Bool[Tensor, "sample position"] | None = None,
    *,
    to: Literal["mean", "zero"] = "mean",
    level: float = 0.95,
) -> DirectEffects:
    """Every component taken out of the final residual stream by itself, the final scale held or free.

        held = ln p(x / s) - ln p((x - d) / s)      free = ln p(x / s) - ln p((x - d) / s(x - d))

    with u what the component (embedding, head, MLP) wrote, d = u - mean(u) over the scored predictions (to="zero":
    d = u), and s the scale of x. Direct attribution holds the scale; what only makes the stream longer then seems to
    do nothing, though it makes every prediction less sure. Nothing before the end is recomputed.
    `scored` as in `logit_lens`. Raises `InputError` for a model without normalisation or that looks ahead, and for
    fewer than two sequences with a scored position.
    """
    require_causal(model, "the effect on the next token")
    w, mask = weights_of(model, fold=False), scored_predictions(tokens, scored)
    tokens, mask = tokens[mask.any(1)], mask[mask.any(1)]
    if len(tokens) < 2:
        raise InputError(f"an interval needs at least 2 sequences with a scored position, got {len(tokens)}")
    run = record(model, tokens, names=written_points(w))
    written = {name: run[name][:, :-1] for name in written_points(w)}
    x = final_residual(w, written)
    target, weight = tokens[:, 1:].to(x.device), mask.to(x) / mask.sum(1, keepdim=True).to(x)
    turn = torch.linalg.qr(torch.randn(w.d_model, w.d_model, generator=generator, dtype=torch.float64))[0].to(x)

    def ln_p(stream: Tensor, scale: Tensor | None) -> Float[Tensor, " batch"]:
        logits = normalised(w, FINAL, stream, scale) @ w.W_U + w.b_U
        return (logits.log_softmax(-1).gather(-1, target[..., None])[..., 0] * weight).sum(1).double()

    intact, s = ln_p(x, None), final_scale(w, x)
    found: dict[str, list[Tensor]] = {"held": [], "free": [], "random held": [], "random free": []}
    components = dict(written_by(w, written))
    for u in components.values():
        d = u if to == "zero" else u - einsum(weight / len(weight), u, "b p, b p m -> m")
        for kind, change in (("", d), ("random ", d @ turn)):
            found[f"{kind}held"].append(intact - ln_p(x - change, s))
            found[f"{kind}free"].append(intact - ln_p(x - change, None))
    held, free, random_held, random_free = (torch.stack(each, dim=1).cpu() for each in found.values())
    estimates = [
        bootstrap_intervals(each, generator, level)
        for each in (held, free, free - held, random_held, random_free - random_held)
    ]
    return DirectEffects(tuple(components), *estimates)


def written_by(
    w: TransformerWeights, written: dict[str, Tensor]
) -> list[tuple[str, Float[Tensor, "batch predicting d_model"]]]:
    """What each component whose writing varies wrote: embedding, heads, MLPs."""
    found = [("embed", written[names.embed_name()])]
    if w.W_pos is not None:
        found.append(("pos_embed", written[names.pos_embed_name()]))
    for layer in range(w.n_layers):
        out = einsum(written[names.z_name(layer)], w.W_O[layer], "b p head d, head d m -> head b p m")
        found += [(str(names.Head(layer, index)), out[index]) for index in range(w.n_heads)]
        if w.W_in is not None:
            found.append((f"L{layer} MLP", written[names.mlp_out_name(layer)]))
    return found
