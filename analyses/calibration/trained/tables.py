"""What the trained half found, for the terminal and for the README, both from results.json alone."""

import re
import textwrap
from pathlib import Path
from typing import Any

from analyses.calibration.trained.rows import BARS
from analyses.calibration.trained.totals import GROUPS
from analyses.tables import number, paragraph, table
from toy_models.atomic import write_bytes
from toy_models.errors import InputError

BEGIN = "<!-- trained calibration: written by python -m analyses.calibration.trained -->"
END = "<!-- end of trained calibration -->"
BLOCK = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
HEADER = ("model", "gain", "feeders -> heads + support, of", "removed", "preserved", "rank", "bars missed")


def terminal(results: dict[str, Any]) -> str:
    """Every model, then the counts."""
    parts = [
        table(HEADER, [_row(row) for row in results["rows"]], "lrlrlr"),
        paragraph(
            "gain: share of what can be gained above a reader that only counts tokens. removed, preserved: shares of "
            "the model's gain without the circuit, and with it only; 95 % intervals over sequences. rank: among the "
            "sets of as many heads that were tried.",
            2,
        ),
        "\n".join(f"{bar}: {share_text(found)} ({BARS[bar]})" for bar, found in results["totals"]["bars"].items()),
        "\n".join(f"{name}: {share_text(found)}" for name, found in _groups(results)),
        paragraph(summary(results)),
    ]
    return "\n\n".join(parts)


def _row(row: dict[str, Any]) -> list[str]:
    all_heads = row["n_layers"] * row["n_heads"]
    named = (
        f"{len(row['feeders'])} -> {len(row['induction'])} + {len(row['support'])} of {all_heads}"
        if row["induction"]
        else "none"
    )
    removed, preserved, others = row["removed"], row["preserved"], row["others"]
    missed = ", ".join(bar for bar, met in row["bars"].items() if not met)
    return [
        row["name"],
        number(row["gain"]["mean"], 2),
        named,
        "" if removed is None else number(removed["mean"], 2),
        "" if preserved is None else f"{preserved['mean']:.2f} [{preserved['low']:.2f}, {preserved['high']:.2f}]",
        "" if others is None else f"{others['rank']} of {others['tried'] + 1}",
        f"{missed} ({'said' if row['doubts'] else 'not said'})" if missed else "",
    ]


def share_text(found: dict[str, Any]) -> str:
    """18 of 20 (90 %, 68 to 99)."""
    if not found["of"]:
        return "none"
    low, high = (f"{100 * found[end]:.0f}" for end in ("low", "high"))
    return f"{found['count']} of {found['of']} ({100 * found['count'] / found['of']:.0f} %, {low} to {high})"


def summary(results: dict[str, Any]) -> str:
    """The counts in sentences."""
    t = results["totals"]
    missed, unsaid = len(t["missed"]), len(t["unsaid"])
    said = f"in {missed - unsaid} of these {missed} the audit itself had a doubt, in {unsaid} it had none"
    return (
        f"{t['models']} models from as many seeds. Where a model gains from order, the verdict meets every bar in "
        f"{share_text(t['with_gain'])}; where none does, no head is named in {share_text(t['without_gain'])}. "
        + (f"A bar is missed in {missed}: {said}. " if missed else "No bar is missed. ")
        + f"A doubt also stands beside {share_text(t['doubted_where_met'])} of the verdicts that meet every bar."
    )


def _groups(results: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    groups = results["totals"]["groups"]
    return [(name, found) for group in GROUPS for name, found in groups[group].items()]


def block(results: dict[str, Any]) -> str:
    """What stands in the README between the two marks, marks included."""
    t = results["totals"]
    rows = [(BARS[bar], share_text(found)) for bar, found in t["bars"].items()]
    rows.append(("all of these", share_text(t["with_gain"])))
    rows.append(("no head named in a model without a gain", share_text(t["without_gain"])))
    groups = [(name, share_text(found)) for name, found in _groups(results)]
    unsaid = f" Missed without a doubt: {', '.join(t['unsaid'])}." if t["unsaid"] else ""
    return "\n\n".join(
        [
            BEGIN,
            _wrapped(
                "Trained models have no truth to compare with, so each verdict is held against brute force: the heads "
                "named as induction heads (from `moderate` on), their feeders, and the heads that the audit says take "
                "part beside them, are a circuit, which is taken out, "
                "kept alone, and compared with other sets of as many heads (all of them up to 1,000, else 300 drawn "
                "ones), on periods and seeds that the audit did not use and by resampling among sequences that repeat, "
                "which it does not do either. *Gain*: loss on unpredictable minus loss on predictable tokens, above "
                "that of the best reader that only "
                f"counts tokens. To do it again: `{results['command']} --jobs 2`."
            ),
            _markdown(("bar", "models that meet it (95 % interval, Clopper-Pearson)"), rows),
            _markdown(("of the models with a gain", "meet every bar"), groups),
            _wrapped(summary(results) + unsaid),
            END,
        ]
    )


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 120, break_on_hyphens=False, break_long_words=False)


def _markdown(header: tuple[str, ...], rows: list[tuple[str, str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in [header, ("---",) * len(header), *rows])


def write_block(readme: Path, results: dict[str, Any]) -> None:
    """Puts the block in the place of the old one; `InputError` where the README has no place for it."""
    text = readme.read_text(encoding="utf-8")
    if len(BLOCK.findall(text)) != 1:
        raise InputError(f"{readme} needs one place for the block, between {BEGIN} and {END}")
    write_bytes(readme, BLOCK.sub(lambda _: block(results), text).encode())
