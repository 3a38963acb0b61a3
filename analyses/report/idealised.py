"""What happens when heads attend exactly as textbooks say, and when several are removed together."""

from analyses.report.blocks import Block, Caution, Cell, Section, Table, listed, sentence
from analyses.report.causal import estimate_cells
from analyses.report.context import Context
from analyses.report.numbers import interval, number
from analyses.report.replacements import AMBIGUOUS, MOST_OF_A_ROLE, Replacements, measure, named_heads
from interp.ablation import Interactions, Recovery, SetEffect
from interp.names import Head
from interp.stats import Estimate

INTERACTS = 0.05
"""The q-value up to which an interaction is said to be one."""
ROUNDING = 1e-3
"""Logits that may be rounding error."""
TAKES_OVER = "stand in: one adds more to the logit when the other is gone"
ENOUGH = "stand in: both add to one logit, of which less would do"


def section(context: Context) -> Section:
    """Ideal patterns, joint removals, and which heads stand in for each other."""
    heads = named_heads(context.with_role)
    found: Replacements | None = None
    blocks: tuple[Block, ...]
    blocks = (sentence("No head is a previous-token or an induction head, so there is none to replace."),)
    if context.report.sources.causal is None:
        blocks = (Caution("Not measured: causal evidence was left out (--skip causal)."),)
    elif heads:
        found = measure(context.subject.model, heads, context.sample, context.generator())
        blocks = found_blocks(found)
    return Section(
        "replaced",
        "What happens when heads are replaced or removed together",
        "A head's attention is replaced by the exact pattern of a textbook, its values left as they are. The share is "
        "what that keeps of what removing the head costs: 1 for as good as the head itself, 0 for no better than none. "
        "Then heads of one role are removed together, and the cost is set beside the sum of what each costs alone.",
        "A head is no more than its role if the textbook's pattern keeps nearly all, and the same pattern one position "
        "off keeps nothing. Heads stand in for each other if removing both costs more than "
        "the two single removals together.",
        blocks,
        {} if found is None else {"idealised": found.to_dict()},
    )


def found_blocks(found: Replacements) -> tuple[Block, ...]:
    blocks: list[Block] = [recovery_table(found)]
    if found.sets:
        blocks.append(set_table(found))
    if found.pairs is not None:
        blocks += [sentence(conclusion(found.pairs)), pair_table(found.pairs)]
    else:
        blocks.append(sentence("There are no two heads of one role, so none could stand in for another."))
    return tuple(blocks)


def recovery_table(found: Replacements) -> Table:
    """A row for every group of heads and pattern."""
    rows = tuple(
        (names(tuple(each.patterns)), pattern_name(each), on, *share_cells(each), *estimate_cells(each.gap))
        for _, on, each in found.recoveries
    )
    header = ("heads", "attend as", "on", "kept", "interval", "one off", "interval", "cost removed", "interval")
    caption = (
        "Shares of the cost of removing the heads (nats per predictable token, by their mean); one off: the same "
        "pattern one position away. Above 1, the exact pattern does better than the head's own; n/a where removal "
        f"costs nothing sure. At most {MOST_OF_A_ROLE} heads of a role, together and one by one. On {AMBIGUOUS}, one "
        "token does not tell what follows, so that a match of two tokens can keep more than a match of one."
    )
    return Table(header, rows, caption, tuple(range(3, 9)))


def pattern_name(found: Recovery) -> str:
    return next(iter(found.patterns.values())).name


def share_cells(found: Recovery) -> tuple[Cell, ...]:
    if found.share is None or found.control is None:
        return number(None), "", number(None), ""
    return (*estimate_cells(found.share), *estimate_cells(found.control))


def set_table(found: Replacements) -> Table:
    """All heads of a role at once, beside other sets of as many heads."""
    rows = tuple((names(each.heads), *set_cells(each)) for each in found.sets.values())
    header = ("heads", "cost together", "interval", "other tokens", "interval", "other sets", "most", "p", "")
    caption = (
        "Increase of the loss in nats per token when all heads of a role are removed at once. Other sets: the mean "
        "cost of as many other heads, and of the costliest; p: share of these sets, itself counted, that cost as much."
    )
    return Table(header, rows, caption, tuple(range(1, 8)))


def set_cells(found: SetEffect) -> tuple[Cell, ...]:
    elsewhere = ("", "") if found.elsewhere is None else estimate_cells(found.elsewhere)
    null = found.random
    control = ("", "", "") if null is None else (number(null.mean), number(null.maximum), null.description)
    p_value = "" if found.p_value is None else number(found.p_value)
    return (*estimate_cells(found.loss), *elsewhere, *control[:2], p_value, control[2])


def pair_table(pairs: Interactions) -> Table:
    """A row for every set: what it costs, and what of that is beyond its members' own costs."""
    rows = tuple(
        (
            names(heads),
            *estimate_cells(pairs.joint[i]),
            number(sum(pairs.singles[head].mean for head in heads)),
            *estimate_cells(pairs.loss[i]),
            logit_cell(pairs.logit[i]),
            number(float(pairs.q_values[i])),
            reading(pairs.loss[i], pairs.logit[i], float(pairs.q_values[i])),
        )
        for i, heads in enumerate(pairs.sets)
    )
    header = ("heads", "cost together", "interval", "alone, summed", "beyond", "interval", "beyond, logit", "q", "")
    caption = (
        "Nats per predictable token; beyond: together minus the sum. The loss bends, so what is beyond the sum in the "
        "logit of the right token stands beside it: below 0, more of it is lost together. q: of no interaction in "
        "loss, over all these sets (sign flips, Benjamini-Yekutieli)."
    )
    return Table(header, rows, caption, tuple(range(1, 8)))


def logit_cell(logit: Estimate) -> Cell:
    """Mean and interval in one cell, without rounding error."""
    mean, low, high = (0.0 if abs(end) < ROUNDING else end for end in (logit.mean, logit.low, logit.high))
    return (number(mean), " ", interval(low, high))


def reading(loss: Estimate, logit: Estimate, q_value: float) -> str:
    """What an interaction says."""
    if q_value > INTERACTS or loss.low <= 0 <= loss.high:
        return "not told from independent"
    if loss.high < 0:
        return "links of one chain"
    return TAKES_OVER if logit.high < -ROUNDING else ENOUGH


def conclusion(pairs: Interactions) -> str:
    """Which pairs stand in for each other."""
    two = [i for i, heads in enumerate(pairs.sets) if len(heads) == 2]
    said = {i: reading(pairs.loss[i], pairs.logit[i], float(pairs.q_values[i])) for i in two}
    backup = [names(pairs.sets[i]) for i in two if said[i] in (TAKES_OVER, ENOUGH)]
    if not backup:
        return f"Of {count(len(two), 'pair')} of heads of one role, none surely stands in for the other."
    verb = "stands" if len(backup) == 1 else "stand"
    return (
        f"Of {count(len(two), 'pair')} of heads of one role, {len(backup)} {verb} in for each other: {listed(backup)}."
    )


def count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def names(heads: tuple[Head, ...]) -> str:
    return " + ".join(map(str, heads))
