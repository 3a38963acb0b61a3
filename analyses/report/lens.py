"""What the model would predict at each depth, and which head says what in the end."""

from analyses.audit.readable import Readable
from analyses.commands.lens import END, Reading, Statistics, depth_name, measure, read, to_dict
from analyses.report.blocks import Block, Cell, Section, Table, sentence
from analyses.report.context import Context
from analyses.report.drawing import picture
from analyses.report.numbers import interval, number
from analyses.tuned import Tuned
from interp.lens import Readable as FirstReadable
from interp.lens.by_head import FRESH
from interp.names import Head
from interp.plots import logit_lens, loss_by_layer

LONG = 16
"""Tables with more rows are folded away."""
AROUND = 20
"""Positions in the picture of the lens; all are in report.json."""


def section(context: Context) -> Section:
    """The lens on the example, the loss by depth and the attribution by component."""
    reading, statistics = read(context.subject, context.example), measure(context.subject, context.report.seed)
    readable = context.report.sources.readable
    tuned = None if readable is None else readable.tuned
    blocks: tuple[Block, ...] = (
        lens_picture(context, reading),
        loss_picture(statistics, tuned),
        *(() if readable is None else where(readable)),
        attribution(statistics),
        sentence(f"Loss and contributions on {statistics.text}.", quiet=True),
    )
    values = to_dict(statistics) | {
        "example": {
            "points": reading.points,
            "top": reading.top,
            "probability": reading.probability,
        }
    }
    return Section(
        "lens",
        "Where the answer becomes readable",
        "The logit lens reads the residual stream (what all layers add to) after each layer as if the model ended "
        "there: each cell holds the most likely next token and its probability, framed where that token does come.",
        "If induction is what makes the prediction, frames appear in the second half only after the layer of the "
        "induction heads, the loss falls there, and those heads bring it: alone of their layer far more than "
        "they do on fresh tokens. They add most to the right token, but not to that of another sequence (the control).",
        blocks,
        values,
    )


def lens_picture(context: Context, reading: Reading) -> Block:
    """Of as many positions around the middle, where the second block begins, as leave room for the tokens' text."""
    labels, example = context.subject.labels, context.example
    length = len(example.labels)
    start = max(0, (length - AROUND) // 2)
    end = min(length, start + AROUND)
    part = "" if end - start == length else f", positions {start} to {end - 1} of 0 to {length - 1}"
    figure = logit_lens(
        reading.probability[:, start:end],
        [[labels[token] for token in row] for row in reading.top[:, start:end].tolist()],
        [depth_name(point) for point in reading.points],
        example.labels[start:end],
        [*example.labels[1:], END][start:end],
        title="Logit lens",
        protocol=f"On {example.source}{part}.",
    )
    return picture("logit-lens", figure, "Most likely token and its probability at each depth and position")


def loss_picture(statistics: Statistics, tuned: Tuned | None = None) -> Block:
    """The loss by depth; where a tuned lens was trained, all three lenses on the same held-out sequences."""
    lens = statistics.lens if tuned is None else tuned.held.logit
    beside = {} if tuned is None else {"tuned": tuned.held.tuned.loss, "bias only": tuned.held.bias_only.loss}
    figure = loss_by_layer(
        lens.loss.mean,
        [depth_name(point) for point in lens.points],
        low=lens.loss.low,
        high=lens.loss.high,
        references={"uniform": lens.uniform_loss},
        beside=beside,
        title="Loss on predictable tokens if the model ended at each depth",
    )
    return picture("loss-by-depth", figure, "Loss by depth, with intervals")


def where(readable: Readable) -> tuple[Block, ...]:
    """The first depth at which the answer can be read, and what each head brings to that."""
    blocks: list[Block] = [sentence(first(readable.lens.readable, "logit lens"))]
    if readable.tuned is not None:
        blocks += [sentence(first(readable.tuned.readable, "tuned lens")), tuned_table(readable.tuned)]
    lens = readable.lens
    n_layers, n_heads = lens.brought.score.shape
    rows = [brought_row(readable, Head(layer, index)) for layer in range(n_layers) for index in range(n_heads)]
    caption = (
        "Log-probability of the right token by the logit lens, nats, at predictable positions: in front of and behind "
        "the heads of a layer; what is lost behind them when one head writes its mean (beside the others), and what "
        "one head brings while all others of its layer write theirs (alone). Fresh: the same, alone, on tokens that do "
        "not repeat. Share: beside the others, of what the layer brings. Heads that do the same work bring much alone "
        "and little beside each other."
    )
    header = (
        "head",
        "before",
        "after",
        "beside the others",
        "interval",
        "alone",
        "interval",
        "fresh",
        "share",
        "interval",
    )
    folded = "What each head brings" if len(rows) > LONG else ""
    return (*blocks, Table(header, tuple(rows), caption, (1, 2, 3, 5, 7, 8), folded))


def first(found: FirstReadable, lens: str) -> str:
    """Where all but the margin of the gap is closed, in a sentence."""
    if found.point is None:
        return f"By the {lens} the right token becomes readable nowhere: {found.reason}."
    ends = [depth_name(end) if end else "never surely" for end in (found.earliest, found.latest)]
    return (
        f"By the {lens} the right token becomes readable at: {depth_name(found.point)} (95 % interval: "
        f"{' to '.join(dict.fromkeys(ends))}). That is the first depth at which {1 - found.margin:.0%} of the way from "
        "the uniform prediction's loss to the model's own is gone."
    )


def brought_row(readable: Readable, head: Head) -> tuple[Cell, ...]:
    lens, share = readable.lens, readable.shares.get(head)
    before, after = (number(float(each.mean[head.layer])) for each in (lens.before, lens.after))
    beside, alone = lens.brought.interval[head], lens.alone.interval[head]
    shares = ("", "") if share is None else (number(share.mean), interval(share.low, share.high))
    parts = (
        number(beside.mean),
        interval(beside.low, beside.high),
        number(alone.mean),
        interval(alone.low, alone.high),
    )
    return (str(head), before, after, *parts, number(float(lens.alone.nulls[FRESH][head])), *shares)


def tuned_table(tuned: Tuned) -> Table:
    """Held-out losses of the three lenses."""
    rows = []
    for index, point in enumerate(tuned.held.tuned.points):
        logit, map_, bias, gain = (
            each[index]
            for each in (
                tuned.held.logit.loss,
                tuned.held.tuned.loss,
                tuned.held.bias_only.loss,
                tuned.held.gain_over_bias,
            )
        )
        cells = (number(logit.mean), number(map_.mean), number(bias.mean), number(gain.mean))
        rows.append((depth_name(point), *cells, interval(gain.low, gain.high)))
    caption = (
        "Loss on sequences that the tuned lens was not trained on, nats; bias only: a constant vector instead of the "
        f"map, which reads nothing new. Uniform prediction: {tuned.held.tuned.uniform_loss:.3g}."
    )
    header = ("depth", "logit lens", "tuned lens", "bias only", "the map adds", "interval")
    return Table(header, tuple(rows), caption, (1, 2, 3, 4))


def attribution(statistics: Statistics) -> Table:
    """What each component adds to the logit of the token that comes, beside its control."""
    order = sorted(range(len(statistics.components)), key=lambda i: -abs(float(statistics.attribution.mean[i])))
    rows = []
    for index in order:
        part, other = statistics.attribution[index], statistics.elsewhere[index]
        cells = (number(part.mean), interval(part.low, part.high), number(other.mean), interval(other.low, other.high))
        rows.append((statistics.components[index], *cells))
    header = ("component", "adds to the next token", "interval", "to another sequence's", "interval")
    caption = (
        "What each component adds to the score (logit) of the token that comes, relative to the mean over the "
        "vocabulary, in nats; the parts add up to the whole. The largest first."
    )
    return Table(header, tuple(rows), caption, (1, 2, 3, 4))
