"""What the model would predict at each depth, and which head says what in the end."""

from analyses.commands.lens import END, Reading, Statistics, depth_name, measure, read, to_dict
from analyses.report.blocks import Block, Section, Table, sentence
from analyses.report.context import Context
from analyses.report.drawing import picture
from analyses.report.numbers import interval, number
from interp.plots import logit_lens, loss_by_layer


def section(context: Context) -> Section:
    """The lens on the example, the loss by depth and the attribution by component."""
    reading, statistics = read(context.subject, context.example), measure(context.subject, context.report.seed)
    blocks: tuple[Block, ...] = (
        lens_picture(context, reading),
        loss_picture(statistics),
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
        "What it would predict at each depth",
        "The logit lens reads the residual stream (what all layers add to) after each layer as if the model ended "
        "there: each cell holds the most likely next token and its probability, framed where that token does come.",
        "If induction is what makes the prediction, frames appear in the second half only after the layer of the "
        "induction heads, the loss falls there, and those heads add most to the right token, but not to the token of "
        "another sequence (the control).",
        blocks,
        values,
    )


def lens_picture(context: Context, reading: Reading) -> Block:
    labels, example = context.subject.labels, context.example
    figure = logit_lens(
        reading.probability,
        [[labels[token] for token in row] for row in reading.top.tolist()],
        [depth_name(point) for point in reading.points],
        example.labels,
        [*example.labels[1:], END],
        title="Logit lens",
        protocol=f"On {example.source}.",
    )
    return picture("logit-lens", figure, "Most likely token and its probability at each depth and position")


def loss_picture(statistics: Statistics) -> Block:
    lens = statistics.lens
    figure = loss_by_layer(
        lens.loss.mean,
        [depth_name(point) for point in lens.points],
        low=lens.loss.low,
        high=lens.loss.high,
        references={"uniform": lens.uniform_loss},
        title="Loss on predictable tokens if the model ended at each depth",
    )
    return picture("loss-by-depth", figure, "Loss by depth, with intervals")


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
