"""What heads do on tokens: a heat map for each score, and prefix matching by period."""

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from analyses.report.blocks import Block, Caution, Gallery, Picture, Section, sentence
from analyses.report.context import Context
from analyses.report.drawing import picture
from interp.heads import HeadBattery, HeadScores, scores_by_position
from interp.plots import score_by_period, score_by_position, score_heatmap

SHOWN = {
    "prefix_matching": "attention to what followed earlier copies of the present token",
    "copying_on_repeats": "whether the head raises the token it attends to",
    "previous_token": "attention to the token before",
    "duplicate_token": "attention to earlier copies of the present token",
    "current_token": "attention to the present token itself",
    "first_token": "attention to the first position",
}
"""The scores that are drawn, and each in a few words; all others stand in the rows of the verdict table."""

MOST_HEADS = 64
"""Heads in the figure by period."""
COPIES_OF_CHANCE = "Beside each score stands its largest null"


def section(context: Context) -> Section:
    """Heat maps and periods; a line where behaviour was not measured."""
    battery = context.report.battery
    blocks: tuple[Block, ...]
    if battery is None:
        blocks = (Caution("Not measured: behaviour was left out (--skip behaviour)."),)
    else:
        blocks = (
            Gallery(tuple(heat_map(context, battery[name], words) for name, words in SHOWN.items())),
            *periods(context, battery),
            *positions(context, battery),
            sentence(f"Measured on {battery['prefix_matching'].protocol}. {COPIES_OF_CHANCE}.", quiet=True),
        )
    return Section(
        "behaviour",
        "What the heads do on random tokens that repeat",
        "Each cell is a head (layer down, head across) with its score and, in brackets, its null: what the score is "
        "when there is nothing to find. Heads with a role have a frame.",
        "Evidence for a role is a score far above its null; for induction the score must also stay high whatever the "
        "period, since a head that only looks a fixed distance back scores at one period at most.",
        blocks,
    )


def heat_map(context: Context, scores: HeadScores, words: str) -> Picture:
    """One score of all heads."""
    name = scores.name.replace("_", " ")
    figure = score_heatmap(
        scores.score,
        largest_null(scores),
        title=f"{name.capitalize()}: {words}",
        label="from −1 to 1" if scores.unit.startswith("from") else scores.unit,
        limits=(-1.0, 1.0) if scores.unit.startswith("from") else (0.0, 1.0),
        marked=context.marked,
    )
    return picture(f"scores-{scores.name.replace('_', '-')}", figure, f"Heat map of {name} of all heads, with nulls")


def largest_null(scores: HeadScores) -> Float[Tensor, "layer head"]:
    """For each head."""
    return torch.stack(list(scores.nulls.values())).amax(0)


def periods(context: Context, battery: HeadBattery) -> tuple[Block, ...]:
    """Prefix matching by period; nothing where the context holds one period only."""
    if len(context.heads) > MOST_HEADS:
        return (
            sentence("Prefix matching by period stands in report.json: there are too many heads to draw.", quiet=True),
        )
    by_period = dict(sorted(battery.by_period.items()))
    if len(by_period) < 2:
        return (sentence("The context holds one period only.", quiet=True),)
    figure = period_figure(context, by_period)
    return (picture("prefix-matching-by-period", figure, "Prefix matching of all heads at several periods"),)


def positions(context: Context, battery: HeadBattery) -> tuple[Block, ...]:
    """Where in a sequence heads do what their mean over positions says; nothing where there are many heads."""
    if len(context.heads) > MOST_HEADS:
        return ()
    found = scores_by_position(context.subject.model, battery.tokens, context.generator())
    figure = score_by_position(
        found,
        title="The same by query position",
        protocol="Means over sequences with 95 % intervals; the null is even attention, the mean of shuffled patterns.",
    )
    words = "Previous-token and prefix-matching scores of all heads at each query position, beside even attention"
    return (picture("scores-by-position", figure, words),)


def period_figure(context: Context, by_period: dict[int, HeadScores]) -> Figure:
    score, null, low, high = (
        torch.stack([value.flatten() for value in values], dim=1)
        for values in zip(
            *((s.score, largest_null(s), s.interval.low, s.interval.high) for s in by_period.values()), strict=True
        )
    )
    return score_by_period(
        list(by_period),
        score,
        context.names,
        null=null,
        low=low,
        high=high,
        title="Prefix matching by period",
        label="prefix matching (share of attention)",
        protocol="The period is the number of tokens after which a sequence repeats.",
    )
