"""Term importance and the paths of a logit as tables for the terminal."""

from collections.abc import Callable, Sequence

from analyses.paths.logits import LogitParts
from analyses.paths.words import order_name
from analyses.tables import interval, number, paragraph, table
from interp.names import Head
from interp.paths import TermImportance
from interp.stats import Estimate

MOST_HEADS = 32


def order_table(found: TermImportance) -> str:
    """Loss of the paths through at most so many heads, and what each order changes."""
    rows = [["no path (uniform)", number(found.uniform_loss), "", "", ""]]
    last = len(found.losses.mean) - 1
    for order in range(last + 1):
        rows.append([order_name(order, last), *cells(found.losses[order]), *cells(found.steps[order], signed=True)])
    note = (
        "Attention patterns (and normalisation scales) are held, so that the logits are a sum over paths: each loss is "
        "that of all paths through at most so many heads, in nats. Below, changes of this loss: less is better."
    )
    return table(["paths up to", "loss", "interval", "change", "interval"], rows, "lrlrl") + "\n" + paragraph(note)


def layer_table(found: TermImportance) -> str:
    """Single heads of each layer, beside the direct path alone and given those of the other layers."""
    rows = [
        [f"layer {layer}", *cells(found.layer_alone[layer], True), *cells(found.layer_given_others[layer], True)]
        for layer in range(len(found.layer_alone.mean))
    ]
    return table(["single heads of", "alone", "interval", "given others", "interval"], rows, "lrlrl")


def head_table(found: TermImportance, heads: Sequence[Head]) -> str:
    """Every head, or the strongest: alone, given the others, and all paths through it."""
    order = sorted(heads, key=lambda head: -abs(float(found.head_paths.mean[head])))
    rows = [
        [
            str(head),
            *cells(found.head_alone[head], True),
            *cells(found.head_given_others[head], True),
            *cells(found.head_paths[head], True),
        ]
        for head in sorted(order[:MOST_HEADS])
    ]
    note = (
        "alone: the head's own path beside the direct one; given others: added to all single heads; all paths: the "
        "whole model minus every path through it, with the patterns that it shaped held."
    )
    if len(rows) < len(heads):
        note += f" The {len(rows)} strongest of {len(heads)} heads."
    header = ["head", "alone", "interval", "given others", "interval", "all paths", "interval"]
    return table(header, rows, "lrlrlrl") + "\n" + paragraph(note)


def pair_table(found: TermImportance, top: int) -> str:
    """The virtual heads whose loss of effect is largest."""
    if found.pair is None:
        return "One layer: there are no virtual heads."
    order = found.pair.mean.abs().argsort(descending=True, stable=True)[:top].tolist()
    rows = [[" → ".join(map(str, found.pairs[i])), *cells(found.pair[i], True)] for i in order]
    shown = f"The {len(rows)} strongest of {len(found.pairs)} virtual heads" if len(rows) < len(found.pairs) else ""
    note = f"{shown or 'All virtual heads'}: the model's loss minus that without the one term through both."
    return table(["virtual head", "change", "interval"], rows, "lrl") + "\n" + paragraph(note)


def logit_table(found: LogitParts, top: int) -> str:
    """The strongest paths, the sum of all, and what is missing."""
    rows = [[str(path), *logit_cells(found, index)] for index, path in enumerate(found.paths[:top])]
    elsewhere = found.total_elsewhere
    what = "all paths" if found.head is None else f"all through {found.head}"
    rows.append([f"{what} ({found.n_paths})", *cells(found.total), *(cells(elsewhere) if elsewhere else [])])
    rows += [["the model's logit", *cells(found.logit)], ["model minus all its paths", number(found.remainder)]]
    rows = [row + [""] * (5 - len(row)) for row in rows]
    header = ["path", "adds to next", "interval", "to another's", "interval"]
    if elsewhere is None:
        header, rows = header[:2], [row[:2] for row in rows]
    note = (
        "What a path adds to the logit of the token that comes, relative to the mean over the vocabulary"
        + ("; mean over this one sequence (no interval). " if elsewhere is None else "; beside it what it adds to the ")
        + ("" if elsewhere is None else "token that comes in another sequence. ")
        + exactness(found.complete, found.remainder, found.error)
    )
    return table(header, rows, "lrlrl") + "\n" + paragraph(note)


def exactness(complete: bool, remainder: float, error: float) -> str:
    """Whether the paths add up, and how far off they are."""
    if complete:
        return f"All paths add up to the model's logits, to {error:.1e} of the largest."
    return f"Longer paths were left out (--order): {remainder:+.3f} of the logit are missing."


def logit_cells(found: LogitParts, index: int) -> list[str]:
    other = [] if found.elsewhere is None else cells(found.elsewhere[index])
    return [*cells(found.parts[index]), *other]


def cells(estimate: Estimate, signed: bool = False) -> list[str]:
    """Mean and interval; a change with its sign."""
    write: Callable[[float], str] = change if signed else number
    return [write(estimate.mean), interval(estimate.low, estimate.high)]


def change(value: float) -> str:
    """With a sign, unless it is 0 to three digits."""
    text = number(value)
    return text if value < 0 or float(text) == 0 else f"+{text}"
