"""`interp lens`: what each depth would predict, and which component raises the token that comes."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from analyses.arguments import Lens
from analyses.commands.lens_tuned import tuned_text
from analyses.loading import Subject, load_subject
from analyses.output import deliver, png
from analyses.sequences import Example, example_of
from analyses.tables import interval, number, paragraph, table, token
from analyses.tuned import Tuned, tune
from interp.heads import Protocol, olsson_protocol, predictable_positions, repeated_tokens
from interp.hooks import record
from interp.lens import Attribution, LogitLens, direct_logit_attribution, lens_logits, logit_lens, residual_points
from interp.plots import logit_lens as lens_figure
from interp.plots import loss_by_layer
from interp.stats import Estimates
from interp.weights import weights_of

SEQUENCES = 32
MOST_ROWS, MOST_DEPTHS = 40, 4
END = "(end)"


@dataclass(frozen=True)
class Reading:
    """The lens on one sequence: at each depth and position, the probability of the top token and which it is."""

    points: tuple[str, ...]
    probability: Float[Tensor, "depth pos"]
    top: Int[Tensor, "depth pos"]
    loss: Float[Tensor, " depth"] | None
    """Mean loss of the tokens that come, nats; None for a sequence of one token."""


@dataclass(frozen=True, eq=False)
class Statistics:
    """Both readings on many random sequences that repeat, with intervals and nulls."""

    text: str
    protocol: Protocol
    tokens: Int[Tensor, "batch pos"]
    lens: LogitLens
    components: tuple[str, ...]
    attribution: Estimates
    elsewhere: Estimates
    """The attribution of the tokens of another sequence."""


def run(arguments: Lens) -> int:
    """On the given sequence; without one, on random sequences that repeat, and on one of them in detail."""
    subject = load_subject(arguments.model, arguments.device)
    folder = subject.folder(arguments.out)
    example = example_of(subject, arguments)
    reading = read(subject, example)
    given = arguments.text is not None or arguments.tokens is not None
    parts = attribution_of(subject, example) if given and len(example.labels) > 1 else None
    statistics = None if given else measure(subject, arguments.seed)
    tuned = None
    if arguments.tuned and statistics is not None:
        tuned = tune(subject.model, statistics.protocol, statistics.tokens, arguments.seed + 1)
    values = {
        "model": subject.to_dict(),
        "source": example.source,
        "tokens": example.numbers,
        "labels": example.labels,
        "points": reading.points,
        "top": reading.top,
        "probability": reading.probability,
        "loss": reading.loss,
        "uniform_loss": uniform_loss(subject),
        "attribution": None if parts is None else dict(zip(parts.components, parts.relative[:, 0], strict=True)),
        "statistics": None if statistics is None else to_dict(statistics),
        "tuned": None if tuned is None else tuned.to_dict(),
    }
    files = {"lens.png": picture(subject, example, reading)}
    if statistics is not None:
        files["lens-loss.png"] = curve(subject, statistics, tuned)
    text = report(subject, example, reading, parts, statistics, tuned)
    return deliver(arguments, folder, values, text, files)


def read(subject: Subject, example: Example) -> Reading:
    """The lens at every point of the residual stream."""
    w = weights_of(subject.model, fold=False)
    points = residual_points(w)
    found = record(subject.model, example.tokens, names=points)
    log_p = torch.stack([lens_logits(w, found[point])[0].log_softmax(-1) for point in points])
    best = log_p.max(-1)
    after = example.tokens[0, 1:].expand(len(points), -1)[..., None]
    loss = None if after.shape[1] == 0 else -log_p[:, :-1].gather(-1, after).mean((1, 2))
    return Reading(points, best.values.exp().cpu(), best.indices.cpu(), None if loss is None else loss.cpu())


def attribution_of(subject: Subject, example: Example) -> Attribution:
    """Each component's part in the logit of the token that comes next, at every position but the last."""
    return direct_logit_attribution(subject.model, example.tokens)


def measure(subject: Subject, seed: int) -> Statistics:
    """Lens and attribution at the predictable positions of random sequences that repeat."""
    generator, config = torch.Generator().manual_seed(seed), subject.config
    protocol = olsson_protocol(config.d_vocab, config.n_ctx, subject.bos, subject.excluded)
    tokens = repeated_tokens(protocol, SEQUENCES, generator).to(next(subject.model.parameters()).device)
    scored = predictable_positions(protocol, SEQUENCES)
    right = direct_logit_attribution(subject.model, tokens)
    wrong = direct_logit_attribution(subject.model, tokens, tokens.roll(1, dims=0)[:, 1:])
    return Statistics(
        text=f"{SEQUENCES} sequences: {protocol.text}; tokens that an earlier copy predicts",
        protocol=protocol,
        tokens=tokens,
        lens=logit_lens(subject.model, tokens, generator, scored),
        components=right.components,
        attribution=right.mean(generator, scored[:, 1:]),
        elsewhere=wrong.mean(generator, scored[:, 1:]),
    )


def to_dict(statistics: Statistics) -> dict[str, Any]:
    return {
        "protocol": statistics.text,
        "lens": statistics.lens.to_dict(),
        "components": statistics.components,
        "attribution": statistics.attribution.to_dict(),
        "attribution_of_another_sequences_tokens": statistics.elsewhere.to_dict(),
    }


def uniform_loss(subject: Subject) -> float:
    """ln of the vocabulary."""
    return float(torch.tensor(float(subject.config.d_vocab)).log())


def depth_name(point: str) -> str:
    """A point of the residual stream in words."""
    if point == "hook_embed":
        return "embedding"
    layer, kind = point.split(".")[1:]
    words = {"hook_resid_pre": "with position", "hook_resid_mid": "mid layer", "hook_resid_post": "after layer"}
    return words[kind] if kind == "hook_resid_pre" else f"{words[kind]} {layer}"


def short_name(point: str) -> str:
    """The same for a narrow column."""
    words = {"with position": "+ pos", "embedding": "embed"}
    name = depth_name(point)
    return words.get(name, name.removeprefix("after ").replace("mid layer", "mid"))


def picture(subject: Subject, example: Example, reading: Reading) -> bytes:
    """Top token at each depth and position, as a PNG."""
    figure = lens_figure(
        reading.probability,
        [[subject.labels[t] for t in row] for row in reading.top.tolist()],
        [depth_name(point) for point in reading.points],
        example.labels,
        [*example.labels[1:], END],
        title=f"Logit lens of {subject.name}",
        protocol=f"On {example.source}.",
    )
    return png(figure)


def curve(subject: Subject, statistics: Statistics, tuned: Tuned | None = None) -> bytes:
    """Loss by depth, as a PNG."""
    lens = statistics.lens
    beside = {} if tuned is None else {"tuned": tuned.held.tuned.loss, "bias only": tuned.held.bias_only.loss}
    figure = loss_by_layer(
        lens.loss.mean,
        [depth_name(point) for point in lens.points],
        low=lens.loss.low,
        high=lens.loss.high,
        references={"uniform": lens.uniform_loss},
        beside=beside,
        title=f"{'Lenses' if beside else 'Logit lens'} of {subject.name}: loss by depth",
        protocol=f"On {statistics.text}.",
    )
    return png(figure)


def report(
    subject: Subject,
    example: Example,
    reading: Reading,
    parts: Attribution | None,
    statistics: Statistics | None,
    tuned: Tuned | None,
) -> str:
    """Statistics where there are some, then the one sequence."""
    out = [paragraph(subject.describe())]
    if statistics is not None:
        out += [paragraph(f"On {statistics.text}."), lens_table(statistics.lens)]
        out += [] if tuned is None else [tuned_text(tuned, depth_name)]
        out += [attribution_table(statistics)]
    out += [paragraph(f"On {example.source}: the top token at each depth, and its probability.")]
    out += [reading_table(subject, example, reading)]
    if reading.loss is not None and statistics is None:
        losses = zip(reading.points, reading.loss.tolist(), strict=True)
        by_depth = ", ".join(f"{depth_name(point)} {number(loss)}" for point, loss in losses)
        uniform = number(uniform_loss(subject))
        out += [paragraph(f"Mean loss on this one sequence (no interval), nats: {by_depth}; uniform {uniform}.")]
    if parts is not None:
        out += [
            paragraph(
                "What each component adds to the logit of the token that comes, relative to the mean logit; mean over "
                "this one sequence (no interval)."
            ),
            one_attribution(parts),
        ]
    return "\n\n".join(out)


def lens_table(lens: LogitLens) -> str:
    """Loss, probability and rank by depth."""
    rows = []
    for index, point in enumerate(lens.points):
        loss, probability, rank, kl = (each[index] for each in (lens.loss, lens.probability, lens.rank, lens.kl))
        rows.append(
            [
                depth_name(point),
                number(loss.mean),
                interval(loss.low, loss.high),
                number(float(lens.shuffled_loss.mean[index])),
                number(probability.mean),
                interval(probability.low, probability.high),
                number(rank.mean, 1),
                number(kl.mean),
            ]
        )
    chance = [number(lens.uniform_probability), "", number(lens.uniform_rank, 1), number(float(lens.uniform_kl.mean))]
    rows.append(["chance", number(lens.uniform_loss), "", "", *chance])
    header = ["depth", "loss", "interval", "shuffled", "p(next)", "interval", "rank", "KL to end"]
    return (
        table(header, rows, "lrlrrlrr")
        + "\n"
        + paragraph(
            "Loss in nats; shuffled: against the tokens of another sequence; rank: tokens with a higher logit, 0 is "
            "the best; chance: every token alike, the rank in a random order."
        )
    )


def attribution_table(statistics: Statistics) -> str:
    """Each component's part in the right logit, beside its part in that of another sequence's token."""
    rows = []
    for index, component in enumerate(statistics.components):
        part, other = statistics.attribution[index], statistics.elsewhere[index]
        cells = [interval(part.low, part.high), number(other.mean), interval(other.low, other.high)]
        rows.append([component, number(part.mean), *cells])
    header = ["component", "adds to next", "interval", "to another's", "interval"]
    return (
        table(header, rows, "lrlrl")
        + "\n"
        + paragraph(
            "What a component adds to the logit of the token that comes, relative to the mean logit, with the final "
            "scale held; beside it what it adds to the token that comes in another sequence."
        )
    )


def one_attribution(parts: Attribution) -> str:
    """The same for a single sequence."""
    means = parts.relative[:, 0].mean(-1).tolist()
    rows = [[component, number(mean)] for component, mean in zip(parts.components, means, strict=True)]
    return table(["component", "adds to next"], rows, "lr")


def reading_table(subject: Subject, example: Example, reading: Reading) -> str:
    """Position by position, the top token and its probability at the last depths."""
    depths = range(len(reading.points))[-MOST_DEPTHS:]
    following = [*example.labels[1:], END]
    rows = []
    for position, (label, after) in enumerate(zip(example.labels, following, strict=True)):
        row = [str(position), token(label, 8), token(after, 8)]
        for depth in depths:
            top, p = int(reading.top[depth, position]), float(reading.probability[depth, position])
            row += [token(subject.labels[top], 8), number(p, 2)]
        rows.append(row)
    header = ["pos", "read", "next", *(cell for depth in depths for cell in (short_name(reading.points[depth]), "p"))]
    shown = table(header, rows[:MOST_ROWS], "rll" + "lr" * len(depths))
    left = len(rows) - MOST_ROWS
    return shown if left <= 0 else f"{shown}\n... and {left} more positions, in lens.json and lens.png"
