"""How much of the loss the paths of each order carry: direct path, single heads, virtual heads.

The term importance analysis of Elhage et al. 2021: patterns are held (and normalisation scales with them), so that the
logits are the sum of `interp.paths.logits`; the order-n loss is that of the paths through at most n heads. Effects are
"loss with these paths minus loss without them", in nats: negative where they help.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from interp.errors import InputError
from interp.inputs import checked
from interp.names import Head
from interp.paths.frozen import FrozenRun, freeze
from interp.paths.frozen_terms import (
    SequenceLoss,
    chain_output,
    first_order_outputs,
    onward,
    order_residuals,
    residual_without,
)
from interp.paths.path import checked_chain
from interp.stats import Estimate, Estimates, bootstrap_interval, bootstrap_intervals

Pair = tuple[Head, Head]
Progress = Callable[[Sequence[Pair]], Iterable[Pair]]


@dataclass(frozen=True, eq=False)
class TermImportance:
    """Losses and effects in nats per scored token, with intervals over sequences."""

    uniform_loss: float
    """ln d_vocab: the loss of no path at all."""
    losses: Estimates
    """Of the paths through at most 0, 1, 2 ... heads, [order]; the last is the model's."""
    steps: Estimates
    """Each order's loss minus that of the order before (of order 0: minus `uniform_loss`), [order]."""
    layer_alone: Estimates
    """Single heads of a layer beside the direct path, minus the direct path alone, [layer]."""
    layer_given_others: Estimates
    """All single heads beside the direct path, minus the same without this layer's, [layer]."""
    head_alone: Estimates
    """The same as `layer_alone` for a single head, [layer head]."""
    head_given_others: Estimates
    """The same as `layer_given_others` for a single head, [layer head]."""
    head_paths: Estimates
    """The model minus the model without any path through the head (pattern-preserving ablation), [layer head]."""
    pairs: tuple[Pair, ...]
    pair: Estimates | None
    """The model minus the model without the virtual head of each pair, [pair]; None without pairs."""

    def to_dict(self) -> dict[str, Any]:
        names = ["losses", "steps", "layer_alone", "layer_given_others"]
        names += ["head_alone", "head_given_others", "head_paths", "pair"]
        parts = {name: None if getattr(self, name) is None else getattr(self, name).to_dict() for name in names}
        pairs = [[str(earlier), str(later)] for earlier, later in self.pairs]
        return {"uniform_loss": self.uniform_loss, "pairs": pairs, **parts}


@checked
def term_importance(
    model: nn.Module,
    tokens: Int[Tensor, "batch pos"],
    generator: torch.Generator,
    scored: Bool[Tensor, "batch pos"] | None = None,
    *,
    targets: Int[Tensor, "batch pos"] | None = None,
    pairs: Iterable[tuple[tuple[int, int], ...]] | None = None,
    level: float = 0.95,
    progress: Progress = iter,
) -> TermImportance:
    """Run the model once and measure the importance of its terms: `term_importance_of` the frozen run."""
    run = freeze(model, tokens)
    return term_importance_of(run, generator, scored, targets=targets, pairs=pairs, level=level, progress=progress)


@torch.no_grad()
def term_importance_of(
    run: FrozenRun,
    generator: torch.Generator,
    scored: Bool[Tensor, "batch pos"] | None = None,
    *,
    targets: Int[Tensor, "batch pos"] | None = None,
    pairs: Iterable[tuple[tuple[int, int], ...]] | None = None,
    level: float = 0.95,
    progress: Progress = iter,
) -> TermImportance:
    """Losses by order, and the effects of layers, heads and pairs of heads.

    `scored[b, i]`: the token at i counts (all but the first by default); or `targets[b, p]`: what position p is to
    predict, -1 where that does not count. `pairs`: of an earlier and a later head, all by default; the effect of a
    pair is that of the one term through exactly these two. `progress` wraps the pairs as they are worked on, as tqdm
    does. Raises `InputError` for pairs that are not two heads in order of depth, and unless two sequences have a
    scored token.
    """
    named = chosen_pairs(run, pairs)
    loss = SequenceLoss(run, scored, targets)
    orders = order_residuals(run)
    losses = torch.stack([loss(residual) for residual in orders])
    uniform = torch.full_like(losses[:1], math.log(run.logits.shape[-1]))
    single = first_order_outputs(run)
    base, final = orders[0], orders[-1]
    whole = sum((out.sum(2) for out in single), base)
    with_singles = loss(whole)
    heads = [Head(*at) for at in product(range(run.n_layers), range(run.n_heads))]
    of_head = {head: single[head.layer][:, :, head.index] for head in heads}

    def estimated(effects: list[Tensor], *shape: int) -> Estimates:
        values = torch.stack(effects, dim=1) if effects else losses.new_zeros(losses.shape[1], 0)
        return bootstrap_intervals(values.unflatten(1, shape) if shape else values, generator, level)

    grid = (run.n_layers, run.n_heads)
    found = [losses[-1] - loss(final - onward(run, later, of_head[earlier])) for earlier, later in progress(named)]

    return TermImportance(
        uniform_loss=float(uniform[0, 0]),
        losses=bootstrap_intervals(losses.T, generator, level),
        steps=bootstrap_intervals((losses - torch.cat([uniform, losses[:-1]])).T, generator, level),
        layer_alone=estimated([loss(base + out.sum(2)) - losses[0] for out in single]),
        layer_given_others=estimated([with_singles - loss(whole - out.sum(2)) for out in single]),
        head_alone=estimated([loss(base + of_head[head]) - losses[0] for head in heads], *grid),
        head_given_others=estimated([with_singles - loss(whole - of_head[head]) for head in heads], *grid),
        head_paths=estimated([losses[-1] - loss(residual_without(run, [head])) for head in heads], *grid),
        pairs=named,
        pair=estimated(found) if found else None,
    )


@torch.no_grad()
def virtual_head_effect(
    run: FrozenRun,
    chain: Iterable[tuple[int, int] | str],
    generator: torch.Generator,
    scored: Bool[Tensor, "batch pos"] | None = None,
    *,
    targets: Int[Tensor, "batch pos"] | None = None,
    level: float = 0.95,
) -> Estimate:
    """Loss of the model minus that without the one term of this chain, in nats per scored token.

    Raises `InputError` as `chain_output`, and unless two sequences have a scored token.
    """
    term, loss = chain_output(run, chain), SequenceLoss(run, scored, targets)
    final = residual_without(run, ())
    return bootstrap_interval(loss(final) - loss(final - term), generator, level)


def chosen_pairs(run: FrozenRun, pairs: Iterable[tuple[tuple[int, int], ...]] | None) -> tuple[Pair, ...]:
    """The pairs asked for, checked, or all."""
    if pairs is not None:
        chains = [checked_chain(pair, run.n_layers, run.n_heads) for pair in pairs]
        if wrong := [chain for chain in chains if len(chain) != 2]:
            raise InputError(f"a pair is an earlier and a later head, got {len(wrong[0])} heads")
        return tuple((earlier, later) for earlier, later in chains)
    heads = [Head(*at) for at in product(range(run.n_layers), range(run.n_heads))]
    return tuple((earlier, later) for earlier, later in product(heads, heads) if earlier.layer < later.layer)
