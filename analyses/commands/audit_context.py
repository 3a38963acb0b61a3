"""What `interp audit` prints of the in-context picture and of the lens: a sentence or two for each."""

from analyses.audit.in_context import InContext
from analyses.audit.readable import Readable
from analyses.commands.lens import depth_name
from analyses.tables import interval, number, paragraph
from interp.lens import Readable as FirstReadable
from interp.stats import Estimate


def context_lines(in_context: InContext | None, readable: Readable | None) -> list[str]:
    """Paragraphs, none for what was not measured."""
    parts = [] if in_context is None else [f"In context: {gained(in_context)} {carried(in_context)}"]
    parts += [] if readable is None else [f"Readable: {where(readable)}"]
    return [paragraph(part, 2) for part in parts]


def gained(found: InContext) -> str:
    """The score beside its nulls."""
    counting = ""
    if found.readers is not None:
        counting = f"; by counting alone {signed(found.reader_score(found.readers.order_free))}"
    return (
        f"the loss at token {found.score.late + 1} less that at token {found.score.early + 1} is "
        f"{shown(found.score.score)} nats (on fresh tokens {shown(found.fresh_score.score)}{counting})."
    )


def carried(found: InContext) -> str:
    """What becomes of the gain without the circuit, and with it alone."""
    if found.carried is None:
        return f"No share of a circuit: {found.reason}."
    if not found.carried.by:
        return f"No share of {found.circuit}: {found.carried.reason}."
    by_mean, others = found.carried.by["mean"], found.carried.others
    lost, kept = ("", "")
    if others is not None:
        lost = f" ({len(others.sets)} other sets alike: {number(float(others.lost.mean()), 2)})"
        kept = f" ({number(float(others.kept.mean()), 2)})"
    return (
        f"Of the gain of {number(found.carried.gain.mean, 2)} nats goes, without {found.circuit}: "
        f"{share(by_mean.lost)}{lost}; stays, with them alone: {share(by_mean.kept)}{kept}; removed by mean."
    )


def where(readable: Readable) -> str:
    """The first depth at which the right token is readable, and the heads that bring it."""
    first, bringers = readable.lens.readable, ", ".join(map(str, readable.bringers))
    by = f", brought by {bringers}" if bringers else ""
    tuned = "" if readable.tuned is None else f" By the tuned lens: {depth_of(readable.tuned.readable)}."
    return f"the right token, by the logit lens: {depth_of(first)}{by}.{tuned}"


def depth_of(first: FirstReadable) -> str:
    """In words, or why nowhere."""
    return f"nowhere, since {first.reason}" if first.point is None else depth_name(first.point)


def share(estimate: Estimate) -> str:
    """A share with its interval."""
    return f"{number(estimate.mean, 2)} {interval(estimate.low, estimate.high, 2)}"


def shown(estimate: Estimate) -> str:
    """A difference with its sign, and its interval."""
    return f"{signed(estimate.mean)} {interval(estimate.low, estimate.high, 2)}"


def signed(value: float) -> str:
    """With + or -."""
    text = number(value, 2)
    return text if text.startswith("-") else f"+{text}"
