"""The tuned lens of a model on sequences of a protocol: trained on others, measured held-out, and what it says."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn
from tqdm import tqdm

from analyses.output import say
from interp.heads import predictable_positions, repeated_tokens
from interp.heads.stimuli import Protocol
from interp.lens import BroughtBy, HeldOut, Readable, TunedLens, brought_by, first_readable, held_out, tuned_lens
from interp.lens.tuned_readable import layers_before
from toy_models.errors import InputError

TRAINING, FEWEST = 256, 8
DELAY = 1.0
"""Seconds before a progress bar is shown."""


@dataclass(frozen=True, eq=False)
class Tuned:
    """A tuned lens with its held-out figures, and what they say of where the next token becomes readable."""

    lens: TunedLens
    held: HeldOut
    readable: Readable
    by_logit_lens: Readable
    brought: BroughtBy | None
    """None where nothing is readable, or before any head."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "training": self.lens.to_dict(),
            "held_out": self.held.to_dict(),
            "readable": {each.kind: each.to_dict() for each in (self.readable, self.by_logit_lens)},
            "brought_by": None if self.brought is None else self.brought.to_dict(),
        }


def tune(model: nn.Module, protocol: Protocol, tokens: Int[Tensor, "batch pos"], seed: int) -> Tuned:
    """Trains on sequences drawn as `tokens` were, none of which is among them; measures on `tokens`."""
    generator = torch.Generator().manual_seed(seed)
    training = others(protocol, tokens, generator)
    scored = predictable_positions(protocol, len(training))
    say(f"training the tuned lens on {len(training)} sequences")
    progress = partial(tqdm, desc="tuned lens", unit="depth", delay=DELAY, leave=False)
    lens = tuned_lens(model, training.to(tokens.device), generator, scored, progress=progress)
    scored = predictable_positions(protocol, len(tokens))
    held = held_out(lens, model, tokens, generator, scored)
    readable, by_logit_lens = first_readable(held, generator), first_readable(held, generator, "logit")
    brought = None
    if readable.point is not None and layers_before(readable.point):
        brought = brought_by(lens, model, tokens, readable.point, generator, scored)
    return Tuned(lens, held, readable, by_logit_lens, brought)


def others(
    protocol: Protocol, tokens: Int[Tensor, "batch pos"], generator: torch.Generator
) -> Int[Tensor, "training pos"]:
    """Sequences of the protocol that all differ, also from `tokens`."""
    taken = {tuple(row) for row in tokens.tolist()}
    fresh = {tuple(row) for row in repeated_tokens(protocol, TRAINING, generator).tolist()} - taken
    if len(fresh) < FEWEST:
        raise InputError(
            f"--tuned needs at least {FEWEST} training sequences besides the {len(taken)} that it is measured on, and "
            f"so small a vocabulary gives {len(fresh)}"
        )
    return torch.tensor(sorted(fresh))
