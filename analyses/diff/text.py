"""A diff as text for a terminal: heads by pairs, roles gained and lost, what differs, edges, and what was compared."""

from collections.abc import Mapping, Sequence

from analyses.diff.audited import HeldRole
from analyses.diff.result import KINDS, AuditDiff, Change, Edge, Pair, Whole
from analyses.tables import interval, number, paragraph, table
from interp.names import Head
from interp.stats import Estimate

MOST_ROWS, MOST_OF_A_PAIR = 24, 3
"""Differences listed; the others are counted, and all are in diff.json."""
SHORT = {"K-composition": "K", "Q-composition": "Q", "smeared keys": "smeared", "not identified": "?"}
WORDS = {"same": "same", "alike": "alike", "matched": "matched", "chance": "by chance"}


def text(diff: AuditDiff) -> str:
    """All of it."""
    parts = [
        f"before: {diff.before}\nafter:  {diff.after}",
        *(paragraph(f"Note: {note}.") for note in diff.notes),
        summary(diff),
        heads_table(diff),
        legend(diff),
        differences(diff.pairs),
        edges(diff),
        model_table(diff.wholes),
    ]
    return "\n\n".join(filter(None, parts))


def summary(diff: AuditDiff) -> str:
    """Roles gained and lost, or that none was."""
    lines = [
        f"{word} {role}: {', '.join(map(str, heads))} ({where})"
        for word, where, found in (("gained", "after", diff.gained), ("lost", "before", diff.lost))
        for role, heads in found.items()
    ]
    if lines:
        return "\n".join(lines)
    changed = sum(bool(pair.differing) for pair in diff.pairs)
    if changed:
        return f"No role was gained or lost; scores differ in {changed} of {len(diff.pairs)} pairs of heads."
    if diff.unmatched_before or diff.unmatched_after:
        return "No role was gained or lost, and no score of a matched head differs beyond its interval."
    return "No difference: every head has a counterpart, and no score differs beyond its interval."


def heads_table(diff: AuditDiff) -> str:
    """A row for each pair, then the heads without a counterpart."""
    header = ["before", "after", "role (mechanism) + others", "confidence", "distance", "p", ""]
    rows = [pair_row(pair) for pair in diff.pairs]
    rows += [
        [str(head), "–", *head_words(roles), "", "", "no counterpart"] for head, roles in diff.unmatched_before.items()
    ]
    rows += [
        ["–", str(head), *head_words(roles), "", "", "no counterpart"] for head, roles in diff.unmatched_after.items()
    ]
    return table(header, rows, "llllrr")


def pair_row(pair: Pair) -> list[str]:
    was, now = head_words(pair.roles_before), head_words(pair.roles_after)
    roles, sure = (moved(*each) for each in zip(was, now, strict=True))
    p_value = "n/a" if pair.p_value is None else number(pair.p_value)
    return [str(pair.before), str(pair.after), roles, sure, number(pair.distance), p_value, WORDS[pair.kind]]


def head_words(roles: Sequence[HeldRole]) -> tuple[str, str]:
    """The surest role with its mechanism in short, how many others there are, and its confidence."""
    first, others = roles[0], len(roles) - 1
    short = "" if first.mechanism is None else f" ({SHORT.get(first.mechanism, first.mechanism)})"
    return f"{first.role}{short}{f' +{others}' if others else ''}", first.confidence or "–"


def moved(before: str, after: str) -> str:
    """One word where nothing moved."""
    return before if before == after else f"{before} → {after}"


def legend(diff: AuditDiff) -> str:
    """What the columns hold, with the null of the distances."""
    null = "there is none for one head against one"
    if diff.null is not None:
        null = (
            f"{diff.null.description}: mean {number(diff.null.mean)}, 95 % quantile {number(diff.null.q95)}, "
            f"{diff.null.n} distances"
        )
    lines = [
        "distance: root mean square of what the scores differ by beyond their intervals, each divided by a perfect "
        f"head's; {number(diff.random_pair)} on average between all heads. Heads are matched one to one, from any "
        f"layer to any other, so that the sum is smallest. p: share of its null at or below it ({null}).",
        *(f"{WORDS[kind]}: {KINDS[kind]}." for kind in dict.fromkeys(pair.kind for pair in diff.pairs)),
    ]
    return "\n".join(paragraph(line, 2) for line in lines)


def differences(pairs: Sequence[Pair]) -> str:
    """Scores that differ, head by head, the largest differences of a head first."""
    total = sum(len(pair.differing) for pair in pairs)
    if not total:
        return ""
    listed = [(pair, change) for pair in pairs for change in by_size(pair.differing)[:MOST_OF_A_PAIR]][:MOST_ROWS]
    header = ["before", "after", "score that differs", "before", "after", "difference"]
    rows = [[str(p.before), str(p.after), change.name.replace("_", " "), *values(change)] for p, change in listed]
    more = f"; {total - len(listed)} more (smaller, or of later heads) are in diff.json" if total > len(listed) else ""
    note = paragraph(
        "Shares of attention; nats for entropy, losses and pushes. A difference is listed if its interval, made for "
        f"all comparisons here at once (Bonferroni), leaves out 0; the largest of a head first{more}.",
        2,
    )
    return f"{table(header, rows, 'lllrr')}\n\n{note}"


def by_size(changes: Sequence[Change]) -> list[Change]:
    """In shares of a perfect head's score."""
    return sorted(changes, key=lambda change: -abs(change.difference.mean) / change.scale)


def values(change: Change) -> tuple[str, str, str]:
    return number(change.before.mean), number(change.after.mean), signed(change.difference)


def signed(estimate: Estimate) -> str:
    value = number(estimate.mean)
    return f"{value if value.startswith('-') else f'+{value}'} {interval(estimate.low, estimate.high)}"


def edges(diff: AuditDiff) -> str:
    """Which heads read which earlier ones, carried over by the matching."""
    circuits = diff.circuits
    sure = [pair for pair in diff.pairs if pair.kind != "chance"]
    forth, back = {p.before: p.after for p in sure}, {p.after: p.before for p in sure}
    lines = [f"kept    {spelled(edge)}{renamed(edge, forth)}" for edge in circuits.kept]
    lines += [f"lost    {spelled(edge)}{alone(edge, forth)}" for edge in circuits.lost]
    lines += [f"gained  {spelled(edge)}{alone(edge, back)}" for edge in circuits.gained]
    return "\n".join(["Earlier heads that heads read:", *(f"  {line}" for line in lines)]) if lines else ""


def renamed(edge: Edge, forth: Mapping[Head, Head]) -> str:
    """What a kept edge is called after, if not the same."""
    now = spelled((forth[edge[0]], edge[1], forth[edge[2]]))
    return "" if now == spelled(edge) else f", now {now}"


def alone(edge: Edge, counterpart: Mapping[Head, Head]) -> str:
    """The heads of an edge that only one of the models has."""
    heads = [str(head) for head in (edge[0], edge[2]) if head not in counterpart]
    return f", no counterpart of {' and '.join(heads)}" if heads else ""


def spelled(edge: Edge) -> str:
    earlier, channel, reader = edge
    return f"{earlier} to {reader} ({channel})"


def model_table(wholes: Sequence[Whole]) -> str:
    """Numbers of the whole models beside chance, or with intervals."""
    if not wholes:
        return ""
    rows = []
    for whole in wholes:
        chance = whole.chance or (None, None)
        cells = [told(value, null) for value, null in zip((whole.before, whole.after), chance, strict=True)]
        rows.append([whole.name, *cells, "differs" if whole.differs else ""])
    note = (
        "Nats per token, and shares of the gain. In-context score: loss late in a sequence minus loss early; gain: "
        "loss on unpredictable minus predictable tokens; on fresh tokens, what position alone brings. Differs: the "
        "interval of the difference, for all of them at once, leaves out 0."
    )
    return f"{table(['whole model', 'before', 'after', ''], rows)}\n\n{paragraph(note, 2)}"


def told(value: Estimate | float, chance: float | None) -> str:
    """A number with what stands beside it."""
    if isinstance(value, Estimate):
        return f"{number(value.mean)} {interval(value.low, value.high)}"
    return number(value) + ("" if chance is None else f" (chance {number(chance)})")
