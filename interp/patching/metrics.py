"""What a patch is judged by: one number for each sequence, from the logits of a run, with its name and its unit.

A `Metric` is a pure function of logits together with what it needs of every sequence (the right token, the scored
tokens, the reference's predictions), so that sequences can be chosen, repeated and reordered.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.ablation.losses import QUANTITIES, masked_means, scored_masks, target_values
from interp.errors import InputError


@dataclass(frozen=True, eq=False)
class Metric:
    """`metric(logits)` is `function(logits, *data)`: one number for each of `len(metric)` sequences.

    One of your own is made the same way: `Metric("entropy", "nats", "of the last prediction", (tokens,), function)`.
    """

    name: str
    unit: str
    text: str
    """What exactly is measured, in words."""
    data: tuple[Tensor, ...]
    """What the function needs of the sequences, one row for each."""
    function: Callable[..., Float[Tensor, " batch"]]
    flat_at_reference: bool = False
    """Whether its gradient is 0 where it is itself 0, as that of a divergence is."""

    def __len__(self) -> int:
        return len(self.data[0])

    def __call__(self, logits: Float[Tensor, "batch pos d_vocab"]) -> Float[Tensor, " batch"]:
        """In float64; gradients flow through. `InputError` for logits of another number of sequences."""
        if len(logits) != len(self):
            raise InputError(f"the metric {self.name!r} is of {len(self)} sequences, the logits are of {len(logits)}")
        return self.function(logits, *(each.to(logits.device) for each in self.data))

    def select(self, rows: Int[Tensor, " row"]) -> "Metric":
        """The same metric for these sequences, in this order; one may come several times."""
        return replace(self, data=tuple(each[rows.to(each.device)] for each in self.data))


def logit_difference(
    right: Int[Tensor, " batch"], wrong: Int[Tensor, " wrong_batch"], position: int | Int[Tensor, " batch"] = -1
) -> Metric:
    """logit of the right minus logit of the wrong token, in what is predicted at `position` (for the next one).

    Raises `InputError` where the right token is the wrong one: the difference would be 0 whatever the model does.
    """
    if right.shape != wrong.shape:
        raise InputError(f"a right and a wrong token for each sequence, got {len(right)} and {len(wrong)}")
    if bool((right == wrong).any()):
        row = int((right == wrong).nonzero()[0])
        raise InputError(f"right and wrong token are the same in sequence {row} (token {int(right[row])})")
    where = torch.full_like(right, position) if isinstance(position, int) else position
    said = f"position {position}" if isinstance(position, int) else "a position of each sequence"
    text = f"logit of the right minus the wrong token at {said}"
    return Metric("logit difference", "logits", text, (right, wrong, where), logit_differences)


def loss(tokens: Int[Tensor, "batch pos"], scored: Bool[Tensor, "batch pos"]) -> Metric:
    """-ln p of the scored tokens (each predicted from those before it), averaged over a sequence.

    `tokens` are the ones to be predicted, also where the model runs on others (corrupted ones). Raises `InputError`
    for masks that score position 0, and for a sequence without a scored token.
    """
    scored_masks(tokens, scored)
    if not bool(scored.any(1).all()):
        row = int((~scored.any(1)).nonzero()[0])
        raise InputError(f"sequence {row} has no scored token, so it has no loss: leave it out")
    text = f"mean loss of {int(scored.sum())} scored tokens in {len(tokens)} sequences"
    return Metric("loss", QUANTITIES["loss"], text, (tokens, scored), scored_losses)


def kl_from(reference: Float[Tensor, "batch pos d_vocab"], at: Bool[Tensor, "batch pos"] | None = None) -> Metric:
    """KL(reference || run) of what is predicted at the positions `at` (all by default), averaged over a sequence.

    sum_v p_ref(v) ln(p_ref(v) / p_run(v)), the direction of Conmy et al. 2023 (ACDC). `reference` are the logits of
    the run to compare with. Raises `InputError` for a sequence without a position.
    """
    where = torch.ones(reference.shape[:2], dtype=torch.bool) if at is None else at
    if where.shape != reference.shape[:2] or not bool(where.any(1).all()):
        raise InputError(
            f"at must be true at one position or more of each of the reference's {list(reference.shape[:2])}, got "
            f"{list(where.shape)} with {where.sum(-1).tolist()}"
        )
    text = f"KL from the reference run to this one, at {int(where.sum())} positions of {len(reference)} sequences"
    held = reference.detach().double().log_softmax(-1)
    return Metric("KL", "nats per token", text, (held, where), kl_divergences, flat_at_reference=True)


def logit_differences(
    logits: Float[Tensor, "batch pos d_vocab"],
    right: Int[Tensor, " batch"],
    wrong: Int[Tensor, " batch"],
    position: Int[Tensor, " batch"],
) -> Float[Tensor, " batch"]:
    """logits[b, position, right] - logits[b, position, wrong]."""
    predicted = logits[torch.arange(len(logits), device=logits.device), position].double()
    return (predicted.gather(-1, right[:, None]) - predicted.gather(-1, wrong[:, None]))[:, 0]


def scored_losses(
    logits: Float[Tensor, "batch pos d_vocab"], tokens: Int[Tensor, "batch pos"], scored: Bool[Tensor, "batch pos"]
) -> Float[Tensor, " batch"]:
    """Mean loss in nats of the scored tokens of each sequence."""
    return masked_means(target_values(logits, tokens)[:1], scored[None])[0, 0]


def kl_divergences(
    logits: Float[Tensor, "batch pos d_vocab"],
    reference: Float[Tensor, "batch pos d_vocab"],
    at: Bool[Tensor, "batch pos"],
) -> Float[Tensor, " batch"]:
    """KL(reference || run) in nats; `reference` holds log-probabilities."""
    each = (reference.exp() * (reference - logits.double().log_softmax(-1))).sum(-1)
    return masked_means(each[None], at[None])[0, 0]
