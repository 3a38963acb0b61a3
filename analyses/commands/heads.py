"""`interp heads`: what every head does on random tokens that repeat, each score beside its nulls."""

import torch
from jaxtyping import Float
from torch import Tensor

from analyses.arguments import Heads
from analyses.loading import Subject, load_subject
from analyses.output import deliver, png
from analyses.tables import beside, interval, number, paragraph, table
from interp.heads import HeadBattery, HeadScores, ScoresByPosition, measure_heads, scores_by_position
from interp.plots import score_by_period, score_by_position, score_heatmap

SHOWN = (
    "previous_token",
    "current_token",
    "first_token",
    "duplicate_token",
    "prefix_matching",
    "value_weighted_prefix_matching",
    "copying",
    "copying_on_repeats",
)
DRAWN = ("previous_token", "duplicate_token", "prefix_matching", "copying_on_repeats")
NULL_COLUMNS = {"fresh tokens": "fresh", "shuffled pattern": "shuffled"}


def run(arguments: Heads) -> int:
    """Every detector on every head."""
    subject = load_subject(arguments.model, arguments.device)
    folder = subject.folder(arguments.out)
    generator = torch.Generator().manual_seed(arguments.seed)
    battery = measure_heads(subject.model, generator, bos=subject.bos, excluded=subject.excluded)
    by_position = scores_by_position(subject.model, battery.tokens, generator)
    values = {
        "model": subject.to_dict(),
        "heads": subject.heads,
        **battery.to_dict(),
        "by_position": {name: scores.to_dict() for name, scores in by_position.items()},
    }
    files = {f"heads-{name.replace('_', '-')}.png": heat_map(subject, battery[name]) for name in DRAWN}
    if len(battery.by_period) > 1:
        files["heads-by-period.png"] = periods(subject, battery)
    files["heads-by-position.png"] = positions(subject, by_position, battery)
    return deliver(arguments, folder, values, report(subject, battery), files)


def heat_map(subject: Subject, scores: HeadScores) -> bytes:
    """A score of all heads, its largest null beneath, as a PNG."""
    meaning = scores.description[0].upper() + scores.description[1:]
    figure = score_heatmap(
        scores.score,
        largest_null(scores),
        title=f"{scores.name} of {subject.name}",
        label=f"{scores.name} ({scores.unit})",
        protocol=f"{meaning}. On {scores.protocol}. Null: the larger one of {', '.join(scores.nulls)}.",
        limits=(-1.0, 1.0) if scores.name.startswith("copying") else (0.0, 1.0),
    )
    return png(figure)


def largest_null(scores: HeadScores) -> Float[Tensor, "layer head"]:
    """For each head."""
    return torch.stack(list(scores.nulls.values())).amax(0)


def periods(subject: Subject, battery: HeadBattery) -> bytes:
    """Prefix matching by period as a PNG."""
    by_period = dict(sorted(battery.by_period.items()))
    score, null, low, high = (
        torch.stack([value.flatten() for value in values], dim=1)
        for values in zip(
            *((s.score, largest_null(s), s.interval.low, s.interval.high) for s in by_period.values()), strict=True
        )
    )
    figure = score_by_period(
        list(by_period),
        score,
        [str(head) for head in subject.heads],
        null=null,
        low=low,
        high=high,
        title=f"Prefix matching by period of {subject.name}",
        label="prefix matching (share of attention)",
        protocol="A head that only looks a fixed distance back scores at one period at most.",
    )
    return png(figure)


def positions(subject: Subject, by_position: dict[str, ScoresByPosition], battery: HeadBattery) -> bytes:
    """Previous-token and prefix-matching scores by query position as a PNG."""
    measured_on = battery["prefix_matching"].protocol.split(";")[0]
    figure = score_by_position(
        by_position,
        title=f"Scores by query position of {subject.name}",
        protocol=f"Means over {measured_on}. Bands: 95 % intervals over sequences. Null: even attention, the mean of "
        "shuffled patterns.",
    )
    return png(figure)


def report(subject: Subject, battery: HeadBattery) -> str:
    """The main scores two by two, then prefix matching by period, then what they mean."""
    tables = [score_table(subject, battery[name]) for name in SHOWN]
    pairs = [beside(left, right) for left, right in zip(tables[::2], tables[1::2], strict=True)]
    level = f"{battery['prefix_matching'].interval.level:.0%}"
    legend = [paragraph(f"{name}: {battery[name].description}.", 2) for name in SHOWN]
    rest = ", ".join(name for name in battery.scores if name not in SHOWN)
    return "\n\n".join(
        [
            paragraph(subject.describe()),
            paragraph(
                f"Scores with {level} intervals over sequences, and their nulls: the same entries on sequences without "
                "the repetition (fresh), and each row's weights shuffled over the keys it may see (shuffled)."
            ),
            *pairs,
            *([period_table(subject, battery)] if len(battery.by_period) > 1 else []),
            "\n".join(legend),
            paragraph(f"Measured on {battery['prefix_matching'].protocol}. heads.json also has {rest}."),
        ]
    )


def score_table(subject: Subject, scores: HeadScores) -> str:
    """One score of all heads."""
    header = ["head", "score", "interval", *(NULL_COLUMNS[name] for name in scores.nulls)]
    rows = []
    for head in subject.heads:
        estimate = scores.interval[head]
        nulls = [number(float(null[head])) for null in scores.nulls.values()]
        rows.append([str(head), number(estimate.mean), interval(estimate.low, estimate.high), *nulls])
    return f"{scores.name}\n{table(header, rows, 'lrlrr')}"


def period_table(subject: Subject, battery: HeadBattery) -> str:
    """Prefix matching of all heads at each period."""
    by_period = dict(sorted(battery.by_period.items()))
    rows = [[str(head), *(period_cell(scores, head) for scores in by_period.values())] for head in subject.heads]
    header = ["head", *(f"period {period}" for period in by_period)]
    text = "prefix_matching by period, ± half its interval (null on fresh tokens)"
    return f"{text}\n{table(header, rows)}"


def period_cell(scores: HeadScores, head: tuple[int, int]) -> str:
    estimate = scores.interval[head]
    half = (estimate.high - estimate.low) / 2
    return f"{number(estimate.mean, 2)} ± {number(half, 2)} ({number(float(scores.nulls['fresh tokens'][head]), 2)})"
