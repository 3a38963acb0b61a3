"""The loss by position: whether a model predicts better for having read more of the sequence, and from where on."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from interp.ablation.losses import device_of, token_losses
from interp.causality import require_causal
from interp.errors import InputError
from interp.stats import Estimates, bootstrap_intervals


@dataclass(frozen=True, eq=False)
class PositionLosses:
    """Losses of the tokens at positions 1, 2, ... (nothing predicts the one at 0), sequence by sequence."""

    samples: Float[Tensor, "batch place"]
    """-ln p(token | tokens before), nats; `place` i is position i + 1."""
    interval: Estimates
    """Means over sequences, [place], each with its own interval (not one for the whole curve)."""

    @property
    def positions(self) -> range:
        return range(1, self.samples.shape[1] + 1)

    def at(self, position: int) -> Float[Tensor, " batch"]:
        """The loss of each sequence's token at a position; `InputError` where nothing predicts one."""
        if position not in self.positions:
            raise InputError(f"tokens are predicted at positions 1 to {len(self.positions)}, got {position}")
        return self.samples[:, position - 1]

    def gain(self, predictable: Bool[Tensor, "batch pos"]) -> Float[Tensor, " batch"]:
        """Mean loss at the positions that cannot be predicted from context minus that at those that can, by sequence.

        Raises `InputError` for a mask of another shape, or one that leaves a sequence without either.
        """
        wanted = [len(self.samples), len(self.positions) + 1]
        if list(predictable.shape) != wanted:
            raise InputError(f"predictable must be {wanted}, batch and pos, got {list(predictable.shape)}")
        inside = predictable[:, 1:].to(self.samples.device)
        if not bool(inside.any(1).all() and (~inside).any(1).all()):
            raise InputError("a gain needs a predictable and an unpredictable token in every sequence")
        means = [(self.samples * mask).sum(1) / mask.sum(1) for mask in (~inside, inside)]
        return means[0] - means[1]

    def to_dict(self) -> dict[str, Any]:
        return {"positions": list(self.positions), **self.interval.to_dict()}


def loss_by_position(
    model: nn.Module,
    tokens: Int[Tensor, "batch pos"],
    generator: torch.Generator,
    level: float = 0.95,
    at_once: int | None = None,
) -> PositionLosses:
    """Mean over sequences of -ln p(t_i | t_0 .. t_(i-1)), for every i >= 1, with bootstrap intervals over sequences.

    Nats per token (Kaplan et al. 2020, "Scaling Laws for Neural Language Models", by token index; Olsson et al. 2022).
    `at_once` sequences are run together, all if it is left out: their logits are held in memory.
    Raises `InputError` for fewer than two sequences, or sequences of one token.
    """
    samples = every_loss(model, tokens, at_once)
    return PositionLosses(samples, bootstrap_intervals(samples, generator, level))


@torch.no_grad()
def every_loss(
    model: nn.Module, tokens: Int[Tensor, "batch pos"], at_once: int | None = None
) -> Float[Tensor, "batch place"]:
    """The loss of every token but the first of each sequence, nats, float64, on the CPU."""
    require_causal(model, "the loss of the next token")
    if tokens.ndim != 2 or tokens.shape[1] < 2 or not len(tokens):
        raise InputError(f"losses need tokens [batch pos] of at least 2 positions, got {list(tokens.shape)}")
    if at_once is not None and at_once < 1:
        raise InputError(f"at least one sequence must be run at once, got {at_once}")
    parts = tokens.to(device_of(model)).split(at_once or len(tokens))
    return torch.cat([token_losses(model(part), part)[:, 1:].cpu() for part in parts])
