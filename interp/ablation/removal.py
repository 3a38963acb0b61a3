"""What stands in for a removed head: nothing, its mean, or what it writes on another sequence; patterns held or not.

A head is removed by replacing its `hook_z` (pattern times values, its own b_V included, before W_O). What replaces it
always comes from the intact model, also where several heads go at once. `interp.ablation.units` does the same with
the units of any hook point.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from interp.ablation.losses import device_of
from interp.errors import InputError
from interp.heads.at_once import parts
from interp.hooks import Ablation, ablate, record
from interp.inputs import checked
from interp.names import Head, pattern_name, z_name
from interp.weights.shape import shape_of

To = Literal["mean", "zero", "resample"]
Over = Literal["batch and positions", "batch"]
HELD = "; all attention patterns held as in the intact run"


@dataclass(frozen=True, eq=False)
class Removal:
    """What stands in for a removed head's z: zeros, or values by layer, `[1 or batch, 1 or pos, head d_head]`."""

    to: To
    instead: dict[int, Float[Tensor, "one pos head d_head"]]
    text: str
    held: dict[str, Float[Tensor, "batch head dest src"]] = field(default_factory=dict, repr=False)
    """The patterns that all layers keep, by hook name; empty where they react."""

    def of(self, part: slice) -> "Removal":
        """For some of the sequences."""
        own = {layer: z if len(z) == 1 else z[part] for layer, z in self.instead.items()}
        return replace(self, instead=own, held={name: pattern[part] for name, pattern in self.held.items()})

    def edits(self, heads: Iterable[Head]) -> dict[str, Ablation | Tensor]:
        """For `intervene`: removes these heads together."""
        by_layer: dict[int, list[int]] = {}
        for head in heads:
            by_layer.setdefault(head.layer, []).append(head.index)
        removed = {
            z_name(layer): ablate(units, to="zero" if self.to == "zero" else self.instead[layer][:, :, units])
            for layer, units in by_layer.items()
        }
        return {**self.held, **removed}


@checked
def removal(
    model: nn.Module,
    tokens: Int[Tensor, "batch pos"],
    to: To = "mean",
    over: Over = "batch and positions",
    reference: Int[Tensor, "reference_batch reference_pos"] | None = None,
    generator: torch.Generator | None = None,
    *,
    hold_patterns: bool = False,
) -> Removal:
    """How to remove heads of `model` while it runs on `tokens`.

    "zero": they write nothing. "mean": their mean on `reference`, or on `tokens`; `over="batch"` keeps a mean for each
    position, so that `reference` must be as long as `tokens` (it is cut to it). "resample": what they write on another
    of the `tokens`, one random cycle through the batch drawn with `generator`, so that none keeps its own; or, if there
    is a `reference` (as many sequences, as long), on its sequence in the same row.

    With `hold_patterns` all attention patterns of all heads keep the values of the intact run, so that only the value
    path changes (pattern-preserving ablation, Olsson et al. 2022, "In-context Learning and Induction Heads"). Without
    normalisation and MLPs that takes out exactly the terms of the path expansion that contain a removed head. All
    patterns of the batch are kept in memory.

    Raises `InputError` where a mean would be the value itself, the reference is too short or of another shape, or
    resampling has no generator, or no other sequence.
    """
    shape = shape_of(model)
    held = held_patterns(model, tokens, shape.n_layers) if hold_patterns else {}
    names = [z_name(layer) for layer in range(shape.n_layers)]
    found, text = stand_ins(model, tokens, names, to, over, reference, generator)
    instead = {layer: found[name] for layer, name in enumerate(names) if name in found}
    return Removal(to, instead, f"removed heads write {text}{HELD if hold_patterns else ''}", held)


def stand_ins(
    model: nn.Module,
    tokens: Int[Tensor, "batch pos"],
    names: Sequence[str],
    to: To,
    over: Over,
    reference: Int[Tensor, "reference_batch reference_pos"] | None,
    generator: torch.Generator | None,
) -> tuple[dict[str, Tensor], str]:
    """What stands in at each hook point for what passes there, and in words what that is; nothing for "zero".

    The points have a batch and a position axis first. The arguments and what is refused are those of `removal`.
    """
    if to == "zero":
        return {}, "nothing (zero)"
    found: Mapping[str, Tensor]
    if to == "resample":
        if reference is not None:
            found = record(model, _same_shape(reference, tokens).to(device_of(model)), names=names)
            return {name: found[name] for name in names}, "what they write on the reference tokens, row by row"
        source = _another(tokens, generator)
        found = record(model, tokens.to(device_of(model)), names=names, reduce=lambda z: z[source.to(z.device)])
        text = "what they write on another of these sequences (one random cycle through them)"
    else:
        seen, name = _source_of_means(tokens, over, reference)
        found = _means(model, seen.to(device_of(model)), names, (0, 1) if over == "batch and positions" else (0,))
        text = f"their mean over {over} of {name}"
    return {name: found[name] for name in names}, text


def held_patterns(model: nn.Module, tokens: Tensor, n_layers: int) -> dict[str, Tensor]:
    """The patterns of all layers, by hook name."""
    names = [pattern_name(layer) for layer in range(n_layers)]
    found = record(model, tokens.to(device_of(model)), names=names)
    return {name: found[name] for name in names}


def _means(model: nn.Module, tokens: Tensor, names: Sequence[str], dims: tuple[int, ...]) -> dict[str, Tensor]:
    """Means of what passes over the sequences (and positions), which run in chunks; those axes have length 1."""
    means: dict[str, Tensor] = {}
    for part in parts(model, tokens):
        share = len(tokens[part]) / len(tokens)
        found = record(model, tokens[part], names=names, reduce=lambda z: z.mean(dims, keepdim=True))
        for name in names:
            means[name] = found[name] * share + means.get(name, 0)
    return means


def _source_of_means(tokens: Tensor, over: Over, reference: Tensor | None) -> tuple[Tensor, str]:
    source, name = (tokens, "these tokens") if reference is None else (reference, "the reference tokens")
    if over == "batch":
        if source.shape[1] < tokens.shape[1]:
            raise InputError(
                f"a mean for each of {tokens.shape[1]} positions needs reference tokens that long, got "
                f"{source.shape[1]}; or take the mean over='batch and positions'"
            )
        source = source[:, : tokens.shape[1]]
    if len(source) < 2:
        raise InputError(f"a mean over sequences needs at least two of them, got {len(source)}")
    return source, name


def _same_shape(reference: Tensor, tokens: Tensor) -> Tensor:
    if reference.shape != tokens.shape:
        raise InputError(
            f"to='resample' takes reference tokens row by row: they must be {list(tokens.shape)} as the tokens, got "
            f"{list(reference.shape)}"
        )
    return reference


def _another(tokens: Tensor, generator: torch.Generator | None) -> Int[Tensor, " batch"]:
    """For each sequence another one."""
    if generator is None:
        raise InputError("to='resample' draws other sequences: pass generator=torch.Generator().manual_seed(...)")
    if len(tokens) < 2:
        raise InputError(f"resampling needs another sequence to take from, got {len(tokens)} sequence")
    order = torch.randperm(len(tokens), generator=generator, device=generator.device).cpu()
    source = torch.empty_like(order)
    source[order] = order.roll(1)
    return source
