"""What the model gains by reading on, which share of it the named heads carry, and when it formed."""

from analyses.audit.development import Development
from analyses.audit.in_context import InContext
from analyses.report.blocks import Block, Caution, Cell, Section, Table, sentence
from analyses.report.context import Context
from analyses.report.drawing import picture
from analyses.report.numbers import interval, number, whole
from interp.in_context import Carried, OtherSets
from interp.plots import formation, loss_by_position
from interp.stats import Estimate

NOT_MEASURED = (
    "Not measured: behaviour was left out (--skip behaviour), the model is too large for the passes that it takes, or "
    "it was not asked for."
)
RESAMPLED = (
    "More than the whole gain (above 1) can go where heads are resampled: what they then write belongs to other "
    "tokens and speaks for wrong ones, which is worse than saying nothing."
)


def section(context: Context) -> Section:
    """Loss by position, score and gain with their nulls, shares of the circuit, and the formation."""
    found = context.report.in_context
    blocks: tuple[Block, ...] = (Caution(NOT_MEASURED),)
    if found is not None:
        blocks = (curve(found), figures(found), *carried(found), *formed(found.development, context))
    return Section(
        "in-context",
        "In-context learning",
        "The loss at each position of sequences that repeat (blue, with its interval), beside the same model on random "
        "tokens that do not (grey), the best that any reader can do (green), and a reader that knows the protocol and "
        "counts tokens, but ignores their order (yellow).",
        "A model that learns from its context falls below its loss on fresh tokens once the sequence repeats; below "
        "the yellow line counting alone does not suffice. If the named heads are the circuit, the gain goes with them "
        "and stays without all others, and other sets of as many heads do neither.",
        blocks,
    )


def curve(found: InContext) -> Block:
    """The figure."""
    readers = found.readers
    known = {} if readers is None else {"best possible": readers.best, "counting alone": readers.order_free}
    figure = loss_by_position(
        found.losses.interval,
        beside={"fresh tokens": found.fresh.interval},
        references=known,
        predictable=found.predictable[1:],
        marked={"early": found.score.early, "late": found.score.late},
        title="Loss by position",
        protocol=f"On {found.text}; 95 % intervals at each position.",
    )
    return picture("loss-by-position", figure, "Loss by position beside fresh tokens and ideal readers")


def figures(found: InContext) -> Table:
    """Score and gain beside their nulls."""
    best, counting = (
        ("not known", "not known")
        if found.readers is None
        else (number(found.reader_score(found.readers.best)), number(found.reader_score(found.readers.order_free)))
    )
    gains = ["not known" if gain is None else number(gain) for gain in (found.order_free_gain, found.best_gain)]
    rows: tuple[tuple[Cell, ...], ...] = (
        ("in-context score", *cells(found.score.score), *cells(found.fresh_score.score), counting, best),
        ("gain", *cells(found.gain), *cells(found.fresh_gain), *gains),
    )
    header = ("nats", "model", "interval", "fresh tokens", "interval", "counting alone", "best possible")
    caption = (
        f"In-context score: {found.score.text}; below 0 where reading on helps. Gain: mean loss on the unpredictable "
        "(grey) minus that on the predictable positions. Both ideal readers know the period and the vocabulary (not "
        "known where a block may repeat tokens); a model that loses more than they where nothing can be told may gain "
        "more."
    )
    return Table(header, rows, caption, (1, 3, 5, 6))


def carried(found: InContext) -> tuple[Block, ...]:
    """What becomes of the gain without the circuit and with nothing else."""
    if found.carried is None:
        return (sentence(f"Which share of the gain a circuit carries is not asked: {found.reason}."),)
    shares = found.carried
    feeders = [str(head) for head in found.circuit.feeders]
    named = f"The circuit: {', '.join(map(str, found.circuit.induction))}" + (
        f", and what they read, {', '.join(feeders)}." if feeders else "; no earlier head was named as read by them."
    )
    if not shares.by:
        return (sentence(named), sentence(f"Its share of the gain is undefined: {shares.reason}."))
    rows: list[tuple[Cell, ...]] = [
        (f"by {to}", *cells(each.lost), *cells(each.kept)) for to, each in shares.by.items()
    ]
    rows += others_rows(shares.others)
    beyond = found.completeness
    if beyond is not None:
        rows += [
            (f"by {to}, of the gain above counting alone", *cells(beyond.lost[to]), *cells(beyond.kept[to]))
            for to in beyond.lost
        ]
    header = ("heads removed", "goes without the circuit", "interval", "stays with it alone", "interval")
    caption = (
        f"Shares of the gain of {shares.gain.mean:.3g} nats when the circuit's heads, or all others, are removed: "
        "replaced by their mean over sequences and positions, or by what they write on tokens that do not repeat "
        "(resample), so that what they say of positions stays."
    )
    blocks: list[Block] = [sentence(named), Table(header, tuple(rows), caption, (1, 3)), sentence(control(shares))]
    if any(each.lost.high > 1.05 for each in shares.by.values()):
        blocks.append(sentence(RESAMPLED, quiet=True))
    return tuple(blocks)


def others_rows(others: OtherSets | None) -> list[tuple[Cell, ...]]:
    if others is None:
        return []
    ends = (interval(float(each.min()), float(each.max())) for each in (others.lost, others.kept))
    lost, kept = (number(float(each.mean())) for each in (others.lost, others.kept))
    of_lost, of_kept = ends
    return [("other sets, by mean (their range)", lost, of_lost, kept, of_kept)]


def control(shares: Carried) -> str:
    """What the other sets are, and how often they do as well."""
    others = shares.others
    if others is None:
        return "There is no other set of as many heads in each layer to compare with, or the model is too large for it."
    text = others.text[0].upper() + others.text[1:]
    return (
        f"{text}; they may share heads with the circuit. Share of the sets, the circuit among them, without which at "
        f"least as much goes: {others.p_lost:.2g}; with which alone at least as much stays: {others.p_kept:.2g}."
    )


def formed(development: Development, context: Context) -> tuple[Block, ...]:
    """When it formed, by the run's checkpoints, and which heads take it back."""
    vector, between, scores = development.vector, development.between, development.scores
    if vector is None or between is None or scores is None:
        return (sentence(f"How it formed cannot be told: {development.reason}."),)
    phase, way = development.phase, development.trajectory
    figure = formation(
        development.steps,
        scores,
        vector.change,
        None if way is None else way.coordinates,
        None if way is None else way.explained,
        between=between,
        surely=phase is not None,
        title="How in-context learning formed",
        protocol=f"{len(development.steps)} of {development.n_found} checkpoints, on the same tokens; components: PCA "
        "of the losses of all tokens over checkpoints (Olsson et al. 2022: one token of each example, several models).",
    )
    blocks: list[Block] = [picture("formation", figure, "In-context score by training step, with the phase change")]
    step = context.subject.step
    if step is not None and step < development.steps[-1]:
        blocks.append(sentence("The model of this report is the checkpoint of step ", whole(step), " of this run."))
    if phase is None:
        found = (
            "Over no stretch between two checkpoints does the score surely fall by a tenth of a nat: no phase change."
        )
        return (*blocks, sentence(found))
    told = (
        "The score falls fastest between the checkpoints of step ",
        whole(phase.before),
        " and ",
        whole(phase.after),
    )
    change = (": by ", number(phase.change.mean), " ", interval(phase.change.low, phase.change.high), " nats")
    share = () if phase.share is None else (", ", number(phase.share.mean), " of the whole change")
    blocks.append(sentence(*told, *change, *share, " (the interval is corrected for the stretches compared)."))
    if development.undone is not None:
        blocks.append(undone(development.undone_rows(context.names)))
    return tuple(blocks)


def undone(rows: list[tuple[str, Estimate]]) -> Table:
    """Head by head, the share of the before-and-after vector that its removal takes back."""
    caption = (
        "Which share of the change of all tokens' losses between these two checkpoints (the before-and-after vector of "
        "Olsson et al. 2022) is taken back when a head of this model is replaced by its mean: 1 is all of it. Heads "
        "that stand in for each other each take back little."
    )
    body = tuple((head, *cells(share)) for head, share in rows)
    return Table(("head", "takes back", "interval"), body, caption, (1,), summary="Which heads take it back")


def cells(estimate: Estimate) -> tuple[Cell, Cell]:
    """Mean and interval."""
    return number(estimate.mean), interval(estimate.low, estimate.high)
