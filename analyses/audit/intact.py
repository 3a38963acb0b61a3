"""The intact model's run on the audit's tokens, and how far predictions move from it when something is changed."""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from functools import cached_property
from typing import Any

import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor, nn

from analyses.audit.effects import REMOVALS
from interp.ablation.head_inputs import check_computed_anew
from interp.ablation.removal import Removal, To, removal
from interp.errors import InputError
from interp.hooks import intervene, record
from interp.names import Head, pattern_name, z_name
from interp.patching.path_edits import receiver_edits
from interp.stats import Estimate, bootstrap_interval
from interp.weights import TransformerWeights, weights_of

Edits = Mapping[str, Any]


class Intact:
    """Predictions, patterns and outputs of the whole model, and the changes that the audit makes to them."""

    def __init__(self, model: nn.Module, tokens: Int[Tensor, "batch pos"], generator: torch.Generator, level: float):
        self.model, self.generator, self.level = model, generator, level
        self.tokens = tokens.to(next(model.parameters()).device)
        self.kept: dict[tuple[Head, To], Tensor] = {}

    @cached_property
    def logits(self) -> Float[Tensor, "batch pos d_vocab"]:
        return self.changed()

    @cached_property
    def weights(self) -> TransformerWeights:
        return weights_of(self.model, fold=False)

    @cached_property
    def closed(self) -> str:
        """Why inputs of single heads cannot be changed; empty if they can."""
        try:
            check_computed_anew(self.model, self.weights, self.tokens[:2])
        except InputError as error:
            return str(error)
        return ""

    @cached_property
    def written(self) -> dict[int, Float[Tensor, "batch pos head d_head"]]:
        """z of every head, by layer."""
        names = {layer: z_name(layer) for layer in range(self.weights.n_layers)}
        found = record(self.model, self.tokens, names=list(names.values()))
        return {layer: found[name] for layer, name in names.items()}

    @cached_property
    def patterns(self) -> dict[str, Float[Tensor, "batch head dest src"]]:
        """By hook name: also the edits that hold them."""
        names = [pattern_name(layer) for layer in range(self.weights.n_layers)]
        found = record(self.model, self.tokens, names=names)
        return {name: found[name] for name in names}

    @cached_property
    def removals(self) -> dict[To, Removal]:
        return {to: removal(self.model, self.tokens, to) for to in REMOVALS}

    @torch.no_grad()
    def changed(self, *edits: Edits) -> Float[Tensor, "batch pos d_vocab"]:
        """Logits with these edits; later ones see what earlier ones made of the same point."""
        with ExitStack() as stack:
            for each in edits:
                stack.enter_context(intervene(self.model, dict(each)))
            return self.model(self.tokens)

    def moved(self, *edits: Edits) -> Float[Tensor, " batch"]:
        """KL(intact || edited) in nats, averaged over the positions of each sequence."""
        return divergence(self.logits, self.changed(*edits))

    def without(self, head: Head, to: To) -> Float[Tensor, " batch"]:
        """`moved` by the head's removal."""
        if (head, to) not in self.kept:
            self.kept[head, to] = self.moved(self.removals[to].edits([head]))
        return self.kept[head, to]

    @cached_property
    def information(self) -> Estimate:
        """What the model says: KL of each prediction from the mean prediction, averaged, in nats.

        The scale beside which a change of its predictions is small or large, also where they are wrong on purpose.
        """
        each = (row.double().softmax(-1) for row in self.logits)
        mean = torch.stack([p.mean(0) for p in each]).mean(0)
        each = (row.double().softmax(-1) for row in self.logits)
        said = torch.stack([(torch.xlogy(p, p) - torch.xlogy(p, mean)).sum(-1).mean() for p in each])
        return self.estimate(said.cpu())

    def cut(self, later: Head, channel: str, earlier: Iterable[Head]) -> dict[str, Any]:
        """Edits that take what earlier heads write, but for its mean, out of one input of a later head."""
        w, how = self.weights, self.removals["mean"]
        parts = []
        for layer, index in earlier:
            z = how.instead[layer][:, :, index] - self.written[layer][:, :, index]
            parts.append(einsum(z, w.W_O[layer, index], "batch pos d, d m -> batch pos m"))
        change = torch.stack(parts).sum(0)  # now, not inside the run that it changes
        return receiver_edits(self.model, w, {f"{later}.{channel}": [(slice(None), lambda: change)]})

    def estimate(self, samples: Float[Tensor, " batch"]) -> Estimate:
        return bootstrap_interval(samples[~samples.isnan()], self.generator, self.level)


@torch.no_grad()
def divergence(
    reference: Float[Tensor, "batch pos d_vocab"], other: Float[Tensor, "batch pos d_vocab"]
) -> Float[Tensor, " batch"]:
    """KL(reference || other), averaged over positions."""
    p, q = reference.log_softmax(-1), other.log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1).double().mean(-1).cpu()
