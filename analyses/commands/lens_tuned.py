"""`interp lens --tuned`: what a trained map reads at each depth, where the next token becomes readable, by whom."""

from collections.abc import Callable

from analyses.tables import interval, number, paragraph, table
from analyses.tuned import Tuned
from interp.lens import BroughtBy, HeldOut, Readable

MOST_HEADS = 12


def tuned_text(tuned: Tuned, name: Callable[[str], str]) -> str:
    """Tables and sentences; `name` puts a point of the residual stream in words."""
    counts = tuned.lens.to_dict()
    about = (
        f"Tuned lens: at each depth an affine map, trained on {counts['n_training']} other sequences towards the "
        f"model's final prediction (KL), stopped by {counts['n_validation']} more; bias only: a constant vector "
        "instead of the map, which reads nothing new of a sequence."
    )
    parts = [paragraph(about), losses_table(tuned.held, name), readings_table(tuned, name), where(tuned, name)]
    return "\n\n".join([*parts, *([] if tuned.brought is None else [heads_table(tuned.brought)])])


def losses_table(held: HeldOut, name: Callable[[str], str]) -> str:
    """Loss of the three lenses, and what the map reads beyond the control."""
    rows = []
    for index, point in enumerate(held.tuned.points):
        cells = [name(point), number(float(held.logit.loss.mean[index]))]
        for each in (held.tuned.loss[index], held.bias_only.loss[index], held.gain_over_bias[index]):
            cells += [number(each.mean), interval(each.low, each.high)]
        rows.append(cells)
    rows.append(["uniform", number(held.tuned.uniform_loss)])
    header = ["depth", "logit", "tuned", "interval", "bias only", "interval", "map adds", "interval"]
    rows = [row + [""] * (len(header) - len(row)) for row in rows]
    return (
        table(header, rows, "lrrlrlrl")
        + "\n"
        + paragraph("Held-out loss in nats; map adds: loss of the bias-only control less that of the tuned lens.")
    )


def readings_table(tuned: Tuned, name: Callable[[str], str]) -> str:
    """What else the tuned lens reads, and the share of the gap that it closes."""
    lens, share = tuned.held.tuned, tuned.readable.share
    rows = []
    for index, point in enumerate(lens.points):
        probability = lens.probability[index]
        cells = [name(point), number(probability.mean), interval(probability.low, probability.high)]
        cells += [number(float(lens.rank.mean[index]), 1), number(float(lens.kl.mean[index]))]
        closed = None if share is None else share[index]
        cells += ["n/a", ""] if closed is None else [number(closed.mean), interval(closed.low, closed.high)]
        rows.append(cells)
    header = ["depth", "tuned p(next)", "interval", "rank", "KL to end", "gap closed", "interval"]
    return (
        table(header, rows, "lrlrrrl")
        + "\n"
        + paragraph("Gap closed: share of the way from the uniform prediction's loss to the model's own.")
    )


def where(tuned: Tuned, name: Callable[[str], str]) -> str:
    """The first depth that closes all but the margin, for both lenses."""
    found, plain = tuned.readable, tuned.by_logit_lens
    if found.point is None:
        return paragraph(f"Where the next token becomes readable: nowhere, since {found.reason}.")

    def span(each: Readable) -> str:
        ends = [name(end) if end else "never surely" for end in (each.earliest, each.latest)]
        return f"{name(each.point) if each.point else 'none'} (interval: {' to '.join(dict.fromkeys(ends))})"

    return paragraph(
        f"First depth at which {1 - found.margin:.0%} of the gap is closed: {span(found)} by the tuned lens, "
        f"{span(plain)} by the logit lens."
    )


def heads_table(brought: BroughtBy) -> str:
    """The heads whose output there matters most."""
    ranked = brought.ranked()
    rows = [
        [str(brought.heads[i]), number(brought.loss[i].mean), interval(brought.loss[i].low, brought.loss[i].high)]
        for i in ranked[:MOST_HEADS]
    ]
    left = "" if len(ranked) <= MOST_HEADS else f" {len(ranked) - MOST_HEADS} more heads in lens.json."
    return (
        table(["head", "loss rises by", "interval"], rows, "lrl")
        + "\n"
        + paragraph(
            "By how much the tuned lens' loss rises there with this head's output replaced by its mean: what the head "
            f"wrote itself, not what later heads made of it.{left}"
        )
    )
