"""What breaks when a head is removed, and what a head loses without the heads it reads."""

from typing import Any

from analyses.audit.causal import Causal
from analyses.audit.feeding import Feeding
from analyses.report.blocks import Block, Caution, Cell, Section, Table, sentence
from analyses.report.context import Context
from analyses.report.drawing import picture
from analyses.report.numbers import interval, number
from interp.ablation.heads import OTHERS
from interp.names import Head
from interp.plots import ablation_bars
from interp.stats import Estimate

LONG = 16
"""Tables with more rows are folded away."""
MOST_BARS = 48
"""Heads in the figure; a larger model shows those with the largest effects."""


def section(context: Context) -> Section:
    """Bars, collateral damage, and feeding."""
    causal = context.report.sources.causal
    blocks: tuple[Block, ...]
    if causal is None:
        blocks = (Caution("Not measured: causal evidence was left out (--skip causal)."),)
    else:
        blocks = (bars(context, causal), collateral(context, causal), *feeding(causal))
    return Section(
        "ablation",
        "What breaks when a head is removed",
        "Each bar is how much worse the model predicts the tokens that an earlier copy tells, when one head's output "
        "is replaced by its mean (or by zero); the table sets it beside the damage to all other tokens.",
        "Evidence is an effect above 0 with its whole interval, above the threshold, and larger than that on the other "
        "tokens, where the head should not matter. A head whose work another one can do may show no effect.",
        blocks,
        {} if causal is None else {"feeding_shares": shares(causal)},
    )


def shares(causal: Causal) -> dict[str, Any]:
    """What `feeding` shows: shares of each head's prefix matching."""
    return {
        str(head): {"by_channel": found.by_channel, "losses": found.losses} for head, found in causal.feedings.items()
    }


def bars(context: Context, causal: Causal) -> Block:
    """Effects on predictable tokens, and on the others."""
    predictable, elsewhere = causal.effects.predictable, causal.effects.elsewhere
    order = sorted(
        measured(context, causal), key=lambda head: -max(abs(float(each.mean[head])) for each in predictable.values())
    )
    heads = sorted(order[:MOST_BARS])
    shown = predictable | ({"other tokens: mean": elsewhere["mean"]} if "mean" in elsewhere else {})
    threshold = context.report.criteria.loss_share * causal.gain
    bar = (
        f"The threshold is {threshold:.3g} nats."
        if threshold > 0
        else "There is no threshold: the model gains nothing."
    )
    figure = ablation_bars(
        [str(head) for head in heads],
        {name: [estimates[head] for head in heads] for name, estimates in shown.items()},
        title="Loss on predictable tokens without each head",
        protocol=f"{bar} The whole model's loss there is {causal.effects.loss:.3g} nats.",
    )
    return picture("ablation", figure, "Increase of the loss without each head, with intervals")


def measured(context: Context, causal: Causal) -> list[Head]:
    """Heads that were removed: all, or the first by behaviour where time was short."""
    known = next(iter(causal.effects.predictable.values())).mean
    return [head for head in context.heads if not bool(known[head].isnan())]


def collateral(context: Context, causal: Causal) -> Block:
    """The effect on predictable tokens beside its controls, head by head."""
    heads = measured(context, causal)
    rows = tuple(row for head in heads for row in effect_rows(causal, head))
    header = ("head", "written instead", "predictable tokens", "interval", "other heads", "other tokens", "interval")
    caption = (
        "Increase of the loss in nats per token; tokens are predictable when an earlier copy tells them. "
        "Other heads: the mean effect of the other heads of the same layer."
    )
    folded = "Effects of removing each head" if len(heads) > LONG else ""
    return Table(header, rows, caption, tuple(range(2, len(header))), folded)


def effect_rows(causal: Causal, head: Head) -> list[tuple[Cell, ...]]:
    """For each way of removing: the effect, the mean of its layer's other heads, and the effect elsewhere."""
    rows: list[tuple[Cell, ...]] = []
    for to, effects in causal.effects.by.items():
        others, elsewhere = effects.loss.nulls.get(OTHERS), causal.effects.elsewhere.get(to)
        here = estimate_cells(causal.effects.predictable[to][head])
        beside = "" if others is None else number(float(others[head]))
        there = ("", "") if elsewhere is None else estimate_cells(elsewhere[head])
        rows.append(("" if rows else str(head), to, *here, beside, *there))
    return rows


def feeding(causal: Causal) -> tuple[Block, ...]:
    """For heads that match prefixes: what is lost without the earlier heads, together and one by one."""
    if not causal.feedings:
        return (sentence("No head above the first layer matches prefixes, so there is nothing that could feed it."),)
    by_channel = tuple(row for head, found in causal.feedings.items() for row in channel_rows(head, found))
    header = ("head", "prefix matching", "input", "lost without all earlier heads", "interval", "most without one", "")
    caption = (
        "Prefix matching of a head when earlier heads are taken out of one of its inputs, as a share of its score: "
        "keys (K) say what each position offers, queries (Q) what the present one looks for."
    )
    every = tuple(row for head, found in causal.feedings.items() for row in feeding_rows(head, found))
    names = ("head", "input", "earlier head", "lost without it", "interval", "lost with it alone", "interval")
    return (
        Table(header, by_channel, caption, (1, 3, 4)),
        Table(names, every, numeric=(3, 4, 5, 6), summary="The same for each earlier head by itself"),
    )


def channel_rows(head: Head, found: Feeding) -> list[tuple[Cell, ...]]:
    """By channel: what all earlier heads together do, and the one that does most."""
    rows: list[tuple[Cell, ...]] = []
    for channel, estimate in found.by_channel.items():
        name = (str(head), number(found.score)) if not rows else ("", "")
        losses = [loss for loss in found.losses if loss.channel == channel]
        most = max(losses, key=lambda loss: loss.without.mean)
        one = (str(most.earlier), (number(most.without.mean), " ", interval(most.without.low, most.without.high)))
        rows.append((*name, channel, *estimate_cells(estimate), *one))
    return rows


def feeding_rows(head: Head, found: Feeding) -> list[tuple[Cell, ...]]:
    """Every earlier head in every channel."""
    return [
        (str(head), each.channel, str(each.earlier), *estimate_cells(each.without), *estimate_cells(each.alone))
        for each in found.losses
    ]


def estimate_cells(estimate: Estimate) -> tuple[Cell, Cell]:
    """Mean and interval."""
    return number(estimate.mean), interval(estimate.low, estimate.high)
