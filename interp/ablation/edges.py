"""Which earlier head feeds a head, and by which composition: its input without that head's output.

The output z_e W_O_e of an earlier head e is taken out of the query, key or value input of one later head alone (the
residual stream before its normalisation), and replaced by nothing ("zero"), by its mean or by its output on another
sequence ("resample"). All other inputs stay as they were. That removes the *direct* path e -> head: what e tells it by
way of heads in between remains.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from interp.ablation.head_inputs import Channel
from interp.ablation.heads import CANDIDATES, OTHERS, mean_of_others
from interp.ablation.losses import scored_masks
from interp.ablation.reader import HeadOutputs, PatternScore, Reader, head_outputs
from interp.ablation.removal import Over, To
from interp.causality import require_causal
from interp.errors import InputError
from interp.heads.detectors import PREFIX_MATCHING
from interp.heads.scores import HeadScores, head_scores
from interp.names import Head, check
from interp.stats import Estimate, bootstrap_interval
from interp.weights.shape import shape_of


@dataclass(frozen=True, eq=False)
class ChannelEffects:
    """What a head loses when earlier heads are taken out of one of its inputs; scores are `[earlier layer, head]`.

    `drop` is of its pattern score (intact minus removed), `loss` of the model on the scored tokens (removed minus
    intact, nats). `alone`: the drop when all *other* earlier heads are taken out, near 0 if this one is enough.
    """

    drop: HeadScores
    alone: HeadScores
    loss: HeadScores | None
    together_drop: Estimate
    """Of all earlier heads at once: several that stand in for each other show here only."""
    together_loss: Estimate | None


@dataclass(frozen=True, eq=False)
class EdgeEffects:
    """`channels["K"].drop.score[0, 3]` is what the reader's pattern score loses without L0H3 in its key input."""

    reader: Head
    intact: Estimate
    """The reader's pattern score."""
    intact_loss: Estimate | None
    """None, like the channels' losses, where only patterns were asked for."""
    channels: dict[Channel, ChannelEffects]
    text: str

    def to_dict(self) -> dict[str, Any]:
        return {
            "reader": str(self.reader),
            "protocol": self.text,
            "intact": self.intact.to_dict(),
            "intact loss": self.intact_loss and self.intact_loss.to_dict(),
            "channels": {
                channel: {name: part and part.to_dict() for name, part in vars(effects).items()}
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
    losses: bool = True,
    tried: Collection[Head] | None = None,
    outputs: HeadOutputs | None = None,
) -> EdgeEffects:
    """Every earlier head taken out of each input of `reader`, alone, all but it, and all together.

    `score` is any pure function of (pattern, tokens), such as a detector; `scored[b, i]` says that the token at i
    counts for the loss; the rest is as in `ablation.removal`.
    losses: without them only the reader's pattern is followed, which takes no runs where the model has no inputs split
        by head (then `interp.ablation.head_inputs` computes it anew).
    tried: the earlier heads to take out by themselves, the numbers of all others being NaN; None for all.
    outputs: what `head_outputs` gives for this model and these tokens, to share it among readers; it then says what
        stands in for heads, instead of `to`, `over` and `reference`.
    Raises `InputError` for a reader in the first layer, and for models whose attention cannot be computed anew.
    """
    require_causal(model, "the loss of the next token")
    shape, masks = shape_of(model), scored_masks(tokens, scored)
    reader = check(Head(*reader), shape.n_layers, shape.n_heads)
    if reader.layer == 0:
        raise InputError(f"{reader} is in the first layer: there is no earlier head that could feed it")
    if getattr(score, "weighted", False):
        raise InputError("edge ablation scores plain patterns, and this detector is for value-weighted ones")
    seen = outputs or head_outputs(model, tokens, to, over, reference, generator)
    made = _Channels(Reader(seen, reader, masks[0], score), tried, losses, generator, level)
    text = f"{len(tokens)} sequences, {int(scored.sum())} scored tokens; {seen.how.text}; direct paths to {reader} only"
    found = {channel: made.effects(channel, text) for channel in channels}
    intact = _estimate(made.reader.score_without("K", []), generator, level)
    return EdgeEffects(
        reader, intact, _estimate(made.reader.intact[1], generator, level) if losses else None, found, text
    )


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
    outputs: HeadOutputs | None = None,
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
    seen = outputs or head_outputs(model, tokens, to, over, None, generator)
    alone = Reader(seen, reader, masks[0], score)
    intact = alone.score_without("K", [])

    def left_with(kept: Sequence[Head]) -> Float[Tensor, " batch"]:
        return alone.score_without(channel, [head for head in alone.earlier if head not in kept])

    def share_lost(kept: Sequence[Head]) -> float:
        return 1 - float(left_with(kept).nanmean()) / float(intact.nanmean())

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
    return tuple(kept), _estimate(intact - left_with(kept), generator, level)


@dataclass(frozen=True, eq=False)
class _Channels:
    """The effects of each input of one reader."""

    reader: Reader
    tried: Collection[Head] | None
    losses: bool
    generator: torch.Generator
    level: float

    def effects(self, channel: Channel, text: str) -> ChannelEffects:
        heads = self.reader.earlier
        tried = [head for head in heads if self.tried is None or head in self.tried]
        each = self._stacked(channel, [[head] for head in tried], self.losses)
        alone = self._stacked(channel, [[other for other in heads if other != head] for head in tried], False)
        together = self._stacked(channel, [heads], self.losses)[..., 0]
        where, unit = f"the {channel} input of {self.reader.head}", "units of the pattern score"

        def made(name: str, said: str, values: Tensor, unit: str) -> HeadScores:
            n_heads = self.reader.outputs.weights.n_heads
            values = values.unflatten(-1, (-1, n_heads) if self.tried is None else (1, len(tried)))
            others = OTHERS if self.tried is None else CANDIDATES
            nulls = {others: mean_of_others(values)} if values.shape[-1] > 1 else {}
            scores = head_scores(
                name,
                said,
                values,
                self.generator,
                protocol=text,
                unit=unit,
                maximum=None,
                nulls=nulls,
                level=self.level,
            )
            return scores if self.tried is None else scores.spread(tried, self.reader.head.layer, n_heads)

        said = f"loss without the earlier head in {where}, minus intact"
        return ChannelEffects(
            made("drop", f"loss of pattern score without the earlier head in {where}", -each[0], unit),
            made("alone", f"loss of pattern score with no earlier head but this in {where}", -alone[0], unit),
            made("loss", said, each[1], "nats per token") if self.losses else None,
            _estimate(-together[0], self.generator, self.level),
            _estimate(together[1], self.generator, self.level) if self.losses else None,
        )

    def _stacked(self, channel: Channel, sets: list[list[Head]], losses: bool) -> Float[Tensor, "which batch n"]:
        """Score (and loss) without each of these sets, minus intact."""
        if losses:
            return torch.stack([self.reader.without(channel, heads) - self.reader.intact for heads in sets], dim=-1)
        intact = self.reader.score_without("K", [])
        return torch.stack([self.reader.score_without(channel, heads) - intact for heads in sets], dim=-1)[None]


def _estimate(values: Float[Tensor, " batch"], generator: torch.Generator, level: float) -> Estimate:
    return bootstrap_interval(values[~values.isnan()], generator, level)
