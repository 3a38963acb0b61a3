"""Which earlier head feeds a head, and by which composition: its input without that head's output.

The output z_e W_O_e of an earlier head e is taken out of the query, key or value input of one later head alone (the
residual stream before its normalisation), and replaced by nothing ("zero"), by its mean or by its output on another
sequence ("resample"). All other inputs stay as they were. That removes the *direct* path e -> head: what e tells it by
way of heads in between remains.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from einops import einsum
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from interp.ablation.heads import OTHERS, mean_of_others
from interp.ablation.losses import device_of, masked_means, scored_masks, target_values
from interp.ablation.removal import Over, Removal, To, removal
from interp.errors import InputError
from interp.heads.detectors import PREFIX_MATCHING
from interp.heads.scores import HeadScores, head_scores
from interp.hooks import intervene, record
from interp.names import Head, check, k_input_name, pattern_name, q_input_name, v_input_name, z_name
from interp.stats import Estimate, bootstrap_interval
from interp.weights import weights_of
from interp.weights.shape import shape_of

Channel = Literal["Q", "K", "V"]
PatternScore = Callable[[Float[Tensor, "batch head dest src"], Int[Tensor, "batch pos"]], Float[Tensor, "batch head"]]
INPUT_NAMES = {"Q": q_input_name, "K": k_input_name, "V": v_input_name}


@dataclass(frozen=True, eq=False)
class ChannelEffects:
    """What a head loses when earlier heads are taken out of one of its inputs; scores are `[earlier layer, head]`.

    `drop` is of its pattern score (intact minus removed), `loss` of the model on the scored tokens (removed minus
    intact, nats). `alone`: the drop when all *other* earlier heads are taken out, near 0 if this one is enough.
    """

    drop: HeadScores
    alone: HeadScores
    loss: HeadScores
    together_drop: Estimate
    """Of all earlier heads at once: several that stand in for each other show here only."""
    together_loss: Estimate


@dataclass(frozen=True, eq=False)
class EdgeEffects:
    """`channels["K"].drop.score[0, 3]` is what the reader's pattern score loses without L0H3 in its key input."""

    reader: Head
    intact: Estimate
    """The reader's pattern score."""
    intact_loss: Estimate
    channels: dict[Channel, ChannelEffects]
    text: str

    def to_dict(self) -> dict[str, Any]:
        return {
            "reader": str(self.reader),
            "protocol": self.text,
            "intact": self.intact.to_dict(),
            "intact loss": self.intact_loss.to_dict(),
            "channels": {
                channel: {name: part.to_dict() for name, part in vars(effects).items()}
                for channel, effects in self.channels.items()
            },
        }


def edge_effects(
    model: nn.Module,
    reader: Head,
    tokens: Int[Tensor, "batch pos"],
    scored: Bool[Tensor, "batch pos"],
    generator: torch.Generator,
    *,
    score: PatternScore = PREFIX_MATCHING,
    channels: Iterable[Channel] = ("Q", "K", "V"),
    to: To = "mean",
    over: Over = "batch and positions",
    reference: Int[Tensor, "reference_batch reference_pos"] | None = None,
    level: float = 0.95,
) -> EdgeEffects:
    """Every earlier head taken out of each input of `reader`, alone, all but it, and all together.

    `score` is any pure function of (pattern, tokens), such as a detector; `scored[b, i]` says that the token at i
    counts for the loss; the rest is as in `ablation.removal`.
    Raises `InputError` for a reader in the first layer, and for models without inputs split by head.
    """
    shape, masks = shape_of(model), scored_masks(tokens, scored)
    reader = check(Head(*reader), shape.n_layers, shape.n_heads)
    if reader.layer == 0:
        raise InputError(f"{reader} is in the first layer: there is no earlier head that could feed it")
    if getattr(score, "weighted", False):
        raise InputError("edge ablation scores plain patterns, and this detector is for value-weighted ones")
    how = removal(model, tokens, to, over, reference, generator)
    run = _Run(model, reader, tokens.to(device_of(model)), masks[0], score, how)
    text = f"{len(tokens)} sequences, {int(scored.sum())} scored tokens; {how.text}; direct paths to {reader} only"
    found = {channel: _channel(run, channel, shape.n_heads, text, generator, level) for channel in channels}
    intact = [_estimate(values, generator, level) for values in run.intact]
    return EdgeEffects(reader, intact[0], intact[1], found, text)


def fewest_enough(
    model: nn.Module,
    reader: Head,
    channel: Channel,
    order: Sequence[Head],
    tokens: Int[Tensor, "batch pos"],
    scored: Bool[Tensor, "batch pos"],
    generator: torch.Generator,
    *,
    lost: float,
    least: float = 0.0,
    ahead: int = 4,
    score: PatternScore = PREFIX_MATCHING,
    to: To = "mean",
    over: Over = "batch and positions",
    level: float = 0.95,
) -> tuple[tuple[Head, ...], Estimate]:
    """Few earlier heads that are enough together, and the pattern score that is lost with these alone.

    Enough: with all other earlier heads taken out of this input of `reader`, it keeps 1 - `lost` of its pattern score.
    Heads are kept one by one, each time the one that leaves the smallest loss, of the next `ahead` in `order`; all of
    `order` where that is not enough. Then those are given up again, one by one, that bring less than the share `least`.
    The rest is as in `edge_effects`; `InputError` also for an empty order.
    """
    if not order:
        raise InputError("order names no earlier head; give those to keep, the most important one first")
    shape, masks = shape_of(model), scored_masks(tokens, scored)
    reader = check(Head(*reader), shape.n_layers, shape.n_heads)
    how = removal(model, tokens, to, over, None, generator)
    run = _Run(model, reader, tokens.to(device_of(model)), masks[0], score, how)

    whole = float(run.intact[0].nanmean())

    def share_lost(kept: Sequence[Head]) -> float:
        return 1 - float(run.without(channel, [head for head in run.written if head not in kept])[0].nanmean()) / whole

    kept: list[Head] = []
    left = 1.0
    while len(kept) < len(order) and (not kept or left > lost):
        shares = {head: share_lost([*kept, head]) for head in [head for head in order if head not in kept][:ahead]}
        best = min(shares, key=lambda head: shares[head])
        kept, left = [*kept, best], shares[best]
    while len(kept) > 1:
        shares = {head: share_lost([other for other in kept if other != head]) for head in kept}
        weakest = min(shares, key=lambda head: shares[head])
        if shares[weakest] - left >= least:
            break
        kept, left = [head for head in kept if head != weakest], shares[weakest]
    others = [head for head in run.written if head not in kept]
    return tuple(kept), _estimate(run.intact[0] - run.without(channel, others)[0], generator, level)


class _Run:
    """The reader's pattern score and the loss of each sequence, with earlier heads taken out of one input or not."""

    def __init__(
        self, model: nn.Module, reader: Head, tokens: Tensor, scored: Tensor, score: PatternScore, how: Removal
    ):
        self.model, self.reader, self.tokens, self.scored, self.score = model, reader, tokens, scored, score
        W_O = weights_of(model, fold=False).W_O
        found = record(model, tokens, names=[z_name(layer) for layer in range(reader.layer)])
        self.written: dict[Head, Tensor] = {}
        for layer in range(reader.layer):
            z = found[z_name(layer)]
            z = z if how.to == "zero" else z - how.instead[layer]
            for index in range(W_O.shape[1]):
                out = einsum(z[:, :, index], W_O[layer, index], "batch pos d, d m -> batch pos m")
                self.written[Head(layer, index)] = out
        self.intact = self.without("K", [])

    def without(self, channel: Channel, heads: Iterable[Head]) -> Float[Tensor, "which batch"]:
        """Score and loss when what these heads write is missing in the reader's input."""
        gone = [self.written[head] for head in heads]

        def take_out(value: Tensor) -> Tensor:
            value[:, :, self.reader.index] -= torch.stack(gone).sum(0)
            return value

        edits = {INPUT_NAMES[channel](self.reader.layer): take_out}
        pattern, index = pattern_name(self.reader.layer), self.reader.index
        try:
            with intervene(self.model, edits) if gone else nullcontext():
                seen = record(
                    self.model,
                    self.tokens,
                    names=pattern,
                    reduce=lambda p: self.score(p[:, index : index + 1], self.tokens),
                )
        except InputError as error:
            if any(name in str(error) for name in edits):
                raise InputError(
                    f"edge ablation edits {next(iter(edits))}, the inputs split by head, which this model does not "
                    "run; a TransformerLens model of theirs can be turned into one that does by "
                    "toy_models.bridge.from_bridge"
                ) from error
            raise
        loss = masked_means(target_values(seen.output, self.tokens)[:1], self.scored[None])[0, 0]
        return torch.stack([seen[pattern][:, 0].cpu().double(), loss])


def _channel(
    run: _Run, channel: Channel, n_heads: int, text: str, generator: torch.Generator, level: float
) -> ChannelEffects:
    heads = list(run.written)
    each = torch.stack([run.without(channel, [head]) - run.intact for head in heads], dim=-1)
    rest = [[other for other in heads if other != head] for head in heads]
    alone = torch.stack([run.without(channel, others)[0] - run.intact[0] for others in rest], dim=-1)
    together = run.without(channel, heads) - run.intact

    def made(name: str, said: str, values: Tensor, unit: str) -> HeadScores:
        values = values.unflatten(-1, (-1, n_heads))
        nulls = {OTHERS: mean_of_others(values)} if n_heads > 1 else {}
        return head_scores(
            name, said, values, generator, protocol=text, unit=unit, maximum=None, nulls=nulls, level=level
        )

    where, unit = f"the {channel} input of {run.reader}", "units of the pattern score"
    return ChannelEffects(
        made("drop", f"loss of pattern score without the earlier head in {where}", -each[0], unit),
        made("alone", f"loss of pattern score with no earlier head but this in {where}", -alone, unit),
        made("loss", f"loss without the earlier head in {where}, minus intact", each[1], "nats per token"),
        _estimate(-together[0], generator, level),
        _estimate(together[1], generator, level),
    )


def _estimate(values: Float[Tensor, " batch"], generator: torch.Generator, level: float) -> Estimate:
    return bootstrap_interval(values[~values.isnan()], generator, level)
