"""From two audits to their diff: heads matched by what they do, then everything else through that matching."""

import math
from collections.abc import Mapping

import torch

from analyses.criteria import Criteria
from analyses.diff.audited import Audited, HeldRole, Score
from analyses.diff.distances import LEAST, difference, profiles, scales
from analyses.diff.matching import match
from analyses.diff.notes import notes_on
from analyses.diff.result import BETTER_THAN_CHANCE, AuditDiff, Change, Circuits, Edge, Kind, Pair
from analyses.diff.sources import Source, audited
from analyses.diff.wholes import wholes
from interp.errors import InputError
from interp.names import Head
from interp.stats import null_summary

OF_THE_NULL = "distances of matched pairs after dealing each score anew among the heads of the larger model"


def diff_audits(before: Source, after: Source, *, seed: int = 0, criteria: Criteria | None = None) -> AuditDiff:
    """Compare two audits, with heads matched by what they do, whatever their layer and index.

    `before`, `after`: an `AuditReport`, a run or checkpoint folder (audited now, both with `seed` and `criteria`), or
    a report.json of an earlier audit. Raises `InputError` for what is none of these, an audit without behaviour or
    without heads, and as `audit`.
    """
    return diff(audited(before, seed, criteria), audited(after, seed, criteria), seed)


def diff(before: Audited, after: Audited, seed: int = 0) -> AuditDiff:
    """The comparison itself; `seed` is of the null of distances."""
    by = scales(before.profile, after.profile)
    if not by or not before.heads or not after.heads:
        raise InputError(f"{before.name} and {after.name} have no heads or no scores in common to match by")
    costs = scales(before.costs, after.costs)
    n = min(len(before.heads), len(after.heads)) * (len(by) + len(costs))
    here, there = (profiles(each.profile, by, n) for each in (before, after))
    found = match(here, there, before.depth, after.depth, torch.Generator().manual_seed(seed))
    p_values: list[float | None] = [None] * len(found.pairs) if found.p_value is None else list(found.p_value)
    pairs = tuple(
        Pair(
            before.heads[i],
            after.heads[j],
            distance,
            p_value,
            kind(distance, p_value),
            before.roles[before.heads[i]],
            after.roles[after.heads[j]],
            changes(before, after, i, j, {**by, **costs}, n),
        )
        for (i, j), distance, p_value in zip(found.pairs, found.distance, p_values, strict=True)
    )
    forth = {pair.before: pair.after for pair in pairs}
    back = {pair.after: pair.before for pair in pairs}
    return AuditDiff(
        before.name,
        after.name,
        (before.document["subject"], after.document["subject"]),
        pairs,
        {head: roles for head, roles in before.roles.items() if head not in forth},
        {head: roles for head, roles in after.roles.items() if head not in back},
        gained=only(after.roles, before.roles, back),
        lost=only(before.roles, after.roles, forth),
        circuits=circuits(before, after, {p.before: p.after for p in pairs if p.kind != "chance"}),
        wholes=wholes(before, after),
        null=null_summary(found.null, OF_THE_NULL) if len(found.null) else None,
        random_pair=found.random_pair,
        scales=by,
        notes=notes_on(before, after),
        seed=seed,
    )


def kind(distance: float, p_value: float | None) -> Kind:
    """By the distance and its null; without a null (one head against one) no more than "alike" can be said."""
    better = p_value is not None and p_value <= BETTER_THAN_CHANCE
    if distance == 0:
        return "same" if better else "alike"
    return "matched" if better else "chance"


def changes(
    before: Audited, after: Audited, i: int, j: int, by: Mapping[str, float], comparisons: int
) -> tuple[Change, ...]:
    """Every common score of a pair; one that is not finite on either side is left out."""
    here, there = ({**each.profile, **each.costs} for each in (before, after))
    return tuple(
        change(here[name], there[name], i, j, scale, comparisons)
        for name, scale in by.items()
        if math.isfinite(here[name].of(i).mean) and math.isfinite(there[name].of(j).mean)
    )


def change(before: Score, after: Score, i: int, j: int, scale: float, comparisons: int) -> Change:
    was, now = before.of(i), after.of(j)
    found = difference(was, now, comparisons)
    differs = not found.low <= 0 <= found.high and abs(found.mean) > LEAST * scale
    return Change(before.name, before.unit, was, now, found, scale, differs)


def only(
    here: Mapping[Head, tuple[HeldRole, ...]],
    there: Mapping[Head, tuple[HeldRole, ...]],
    counterpart: Mapping[Head, Head],
) -> dict[str, tuple[Head, ...]]:
    """By role: the heads here that have it (with a confidence), and whose counterpart there, if any, has not."""
    found: dict[str, tuple[Head, ...]] = {}
    for head, roles in here.items():
        theirs = {held.role for held in there[counterpart[head]]} if head in counterpart else set()
        for held in roles:
            if held.confidence is not None and held.role not in theirs:
                found[held.role] = (*found.get(held.role, ()), head)
    return found


def circuits(before: Audited, after: Audited, counterpart: Mapping[Head, Head]) -> Circuits:
    """The edges of both, those before carried over to the counterparts of their heads."""
    kept: dict[Edge, Edge] = {}
    for edge in before.edges:
        earlier, channel, reader = edge
        if earlier in counterpart and reader in counterpart:
            carried = (counterpart[earlier], channel, counterpart[reader])
            if carried in after.edges:
                kept[edge] = carried
    lost = tuple(edge for edge in before.edges if edge not in kept)
    return Circuits(tuple(kept), lost, tuple(edge for edge in after.edges if edge not in kept.values()))
