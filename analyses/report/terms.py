"""How much of the loss each kind of path carries: term importance on the report's own tokens."""

from analyses.paths.figures import terms_figure
from analyses.paths.words import order_name
from analyses.report.blocks import Block, Cell, Section, Table, sentence
from analyses.report.context import Context
from analyses.report.drawing import picture
from analyses.report.numbers import interval, number
from interp.paths import TermImportance, term_importance_of
from interp.stats import Estimate

MOST_PAIRS = 16
LONG = 16
"""Tables of more heads show the strongest."""


def section(context: Context) -> Section:
    """The waterfall, the losses by order, and the effects of heads and virtual heads."""
    sample = context.sample
    found = term_importance_of(context.runs.frozen, context.generator(), sample.scored)
    blocks: tuple[Block, ...] = (
        waterfall_picture(context, found),
        orders(found),
        heads(context, found),
        *pairs(found),
        sentence(
            f"On {sample.text}; loss on tokens that an earlier copy predicts. Patterns are held at what they are in "
            "the whole model, so that a head which only shapes where later heads look shows no effect here.",
            quiet=True,
        ),
    )
    return Section(
        "terms",
        "Which paths make the predictions",
        "With its attention patterns held, the model is a sum over paths: direct from the token read, through single "
        "heads, and through chains of heads whose values feed on one another (virtual heads). Each step is what one "
        "more head in the chains does to the loss, from guessing evenly down to the whole model.",
        "If induction heads copy what they look at, nearly the whole fall is the step of single heads, and theirs; if "
        "information is moved twice before it is read (V-composition), it is the step of chains.",
        blocks,
        found.to_dict(),
    )


def waterfall_picture(context: Context, found: TermImportance) -> Block:
    figure = terms_figure(found, context.heads, "Loss on predictable tokens by the paths that are let through")
    return picture("terms", figure, "Waterfall of the loss by order of paths, and the strongest heads and chains")


def orders(found: TermImportance) -> Table:
    """Loss of the paths through at most so many heads."""
    rows: list[tuple[Cell, ...]] = [("no path (even guessing)", number(found.uniform_loss), "", "", "")]
    last = len(found.losses.mean) - 1
    for order in range(last + 1):
        rows.append((order_name(order, last), *cells(found.losses[order]), *cells(found.steps[order])))
    caption = (
        "Loss of all paths through at most so many heads, and what each step changes; nats per token, less is better."
    )
    return Table(("paths up to", "loss", "interval", "change", "interval"), tuple(rows), caption, (1, 2, 3, 4))


def heads(context: Context, found: TermImportance) -> Table:
    """Every head, or the strongest."""
    order = sorted(context.heads, key=lambda head: -abs(float(found.head_paths.mean[head])))
    rows = tuple(
        (
            str(head),
            *cells(found.head_alone[head]),
            *cells(found.head_given_others[head]),
            *cells(found.head_paths[head]),
        )
        for head in sorted(order[:LONG])
    )
    caption = (
        "Change of the loss in nats. Alone: the head's own path beside the direct one. Given others: its own path "
        "added to all single heads. All paths: the whole model minus every path through the head."
    )
    if len(rows) < len(context.heads):
        caption += f" The {len(rows)} strongest of {len(context.heads)}."
    header = ("head", "alone", "interval", "given others", "interval", "all paths", "interval")
    return Table(header, rows, caption, (1, 2, 3, 4, 5, 6), "What each head's paths do to the loss")


def pairs(found: TermImportance) -> list[Block]:
    """The strongest virtual heads of two."""
    if found.pair is None:
        return [sentence("The model has one layer, and so no virtual heads.", quiet=True)]
    order = found.pair.mean.abs().argsort(descending=True, stable=True)[:MOST_PAIRS].tolist()
    rows = tuple((" → ".join(map(str, found.pairs[i])), *cells(found.pair[i])) for i in order)
    caption = "The model's loss minus that without the one term through both heads."
    if len(rows) < len(found.pairs):
        caption += f" The {len(rows)} strongest of {len(found.pairs)}."
    return [Table(("virtual head", "change", "interval"), rows, caption, (1, 2), "What virtual heads do to the loss")]


def cells(estimate: Estimate) -> tuple[Cell, Cell]:
    """Mean and interval."""
    return number(estimate.mean), interval(estimate.low, estimate.high)
