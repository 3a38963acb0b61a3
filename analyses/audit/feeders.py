"""Which earlier heads are named as feeders: by ablation, with what the weights say beside it."""

from collections.abc import Sequence

from analyses.audit.feeding import Feeding, Loss
from analyses.audit.matching import CHANNELS, Channel, Edge
from analyses.audit.rules import above, below
from analyses.criteria import Criteria
from analyses.evidence import Feeder, Measurement


def name_feeders(
    feeding: Feeding, edges: Sequence[Edge], criteria: Criteria
) -> tuple[tuple[Feeder, ...], tuple[str, ...]]:
    """The earlier heads that a head reads by K or Q, and what has to be said about them; `edges` are its own."""
    named = [
        _feeder(loss, edges, criteria)
        for channel in CHANNELS
        for loss in feeding.losses
        if loss.channel == channel and is_feeder(feeding, loss, criteria)
    ]
    return tuple(named), tuple(_notes(feeding, named, edges, criteria))


def is_feeder(feeding: Feeding, loss: Loss, criteria: Criteria) -> bool:
    """Where a channel needs earlier heads: the removal of this one alone costs enough, or it alone is enough, or it is
    one of the fewest that are enough together."""
    return loss.channel in feeding.enough and (
        _by_itself(loss, criteria) or loss.earlier in feeding.enough[loss.channel].heads
    )


def _by_itself(loss: Loss, criteria: Criteria) -> bool:
    needed = above(loss.without, criteria.feed_drop) is True
    return needed or below(loss.alone, 1 - criteria.feed_drop) is True


def _feeder(loss: Loss, edges: Sequence[Edge], criteria: Criteria) -> Feeder:
    edge = next((e for e in edges if e.earlier == loss.earlier and e.channel == loss.channel), None)
    causal = Measurement(
        f"share of prefix matching lost without {loss.earlier} in the {loss.channel} input",
        loss.without.mean,
        f"at least {criteria.feed_drop:.0%}, or at most {1 - criteria.feed_drop:.0%} lost with it alone "
        f"({loss.alone}), or one of the fewest that keep all but {criteria.feed_rest:.0%} together",
        True,
        "share of its prefix matching",
        loss.without.low,
        loss.without.high,
        threshold=criteria.feed_drop,
    )
    weights = None
    if edge is not None:
        weights = Measurement(
            f"match through {edge}",
            edge.value,
            "above its null's corrected quantile",
            edge.stands_out,
            nulls={edge.scored.null: edge.threshold},
            threshold=edge.threshold,
        )
    agree = None if edge is None else edge.stands_out
    note = "" if agree is not False else "weights and ablation disagree: this edge does not stand out by weights"
    return Feeder(str(loss.earlier), loss.channel, causal, weights, agree, note)


def _notes(feeding: Feeding, named: list[Feeder], edges: Sequence[Edge], criteria: Criteria) -> list[str]:
    notes = [_together(feeding, channel) for channel in feeding.enough if _is_shared(feeding, channel, criteria)]
    notes += [
        f"{feeding.left_out} earlier heads were not tried by themselves, to keep within the budget, and the others are "
        f"not enough for its {channel} input: with them alone {enough.lost} is lost"
        for channel, enough in feeding.enough.items()
        if feeding.left_out and not below(enough.lost, 1 - criteria.feed_drop)
    ]
    best = edges[:1]
    if not any(f.agree for f in named) and any(edge.stands_out for edge in best):
        notes.append(f"by weights alone {best[0]} would match best, yet taking it out does not show that")
    return notes


def _is_shared(feeding: Feeding, channel: Channel, criteria: Criteria) -> bool:
    """Whether no single earlier head is a feeder of this channel by itself."""
    return not any(_by_itself(loss, criteria) for loss in feeding.losses if loss.channel == channel)


def _together(feeding: Feeding, channel: Channel) -> str:
    enough = feeding.enough[channel]
    return (
        f"its {channel} input needs earlier heads ({feeding.by_channel[channel]} lost), but no single one of them: "
        f"{', '.join(map(str, enough.heads))} together keep all but {enough.lost}"
    )
