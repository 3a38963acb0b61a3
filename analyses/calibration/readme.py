"""The README's section "How far to trust a verdict", written from results.json."""

import re
import textwrap
from pathlib import Path
from typing import Any

from analyses.calibration.tables import drawn_text, search_text
from analyses.calibration.words import level_text, rate, role_rows, share_text, wrong_rows
from toy_models.atomic import write_bytes
from toy_models.errors import InputError

HEADING = "## How far to trust a verdict"
BEGIN, END = "<!-- calibration: written by python -m analyses.calibration -->", "<!-- end of calibration -->"
BLOCK = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)


def block(results: dict[str, Any]) -> str:
    """What stands between the two marks, marks included."""
    parts = [
        BEGIN,
        filled(
            "The audit is itself audited, on models whose circuit is known because their weights were set by hand, "
            "each drawn by itself (size, sharpness, strength, a random orthonormal basis of the residual stream, "
            "noise), and on models without induction: random weights in one to four layers, and decoys that share a "
            f"feature with it: {drawn_text(results)} To do it again: `{results['command']}`."
        ),
        bars_markdown(results),
        filled(
            "How often the audit is right, with 95 % intervals over models. *Little noise*: the model keeps 95 % of "
            "its own accuracy. A role counts as said from `weak` on."
        ),
        roles_markdown(results),
        "What the confidence words are worth, over all roles and all noise:",
        words_markdown(results),
        filled(
            "Induction heads found, by noise: Gaussian, on every weight, in units of the scale at which the model "
            "loses 5 % of its own accuracy."
        ),
        noise_markdown(results),
        filled(mechanisms_text(results)),
        filled(search_text(results)),
        wrong_markdown(results),
        END,
    ]
    return "\n\n".join(parts)


def filled(text: str) -> str:
    """In lines of at most 120 characters."""
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def write_block(readme: Path, results: dict[str, Any]) -> None:
    """Puts the block in the place of the old one; `InputError` where the README has no place for it."""
    text = readme.read_text(encoding="utf-8")
    if len(BLOCK.findall(text)) != 1:
        raise InputError(f"{readme} needs one place for the block, between {BEGIN} and {END}")
    write_bytes(readme, BLOCK.sub(lambda _: block(results), text).encode())


def markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *([cell or "no cases" for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def bars_markdown(results: dict[str, Any]) -> str:
    rows = []
    for each in results["bars"]:
        wanted = f"at most {each['at_most']:g}" if each["at_most"] < 1 else f"at least {each['at_least']:g}"
        rows.append([each["bar"], wanted, share_text(each["found"]), "yes" if each["met"] else "**no**"])
    return markdown(["to be reached", "wanted", "found", "met"], rows)


def roles_markdown(results: dict[str, Any]) -> str:
    header = ["said to be", "right when said", "found, little noise", "found, all noise", "said where it is not"]
    return markdown(header, [list(row) for row in role_rows(results)])


def words_markdown(results: dict[str, Any]) -> str:
    rows = [[word, share_text(found)] for word, found in results["reliability"].items()]
    return markdown(["word", "the head has the role"], rows)


def noise_markdown(results: dict[str, Any]) -> str:
    levels = list(next(iter(results["induction"].values()))["recall"])
    rows = [
        [mechanism, *(rate(found["recall"][level]) for level in levels), level_text(found)]
        for mechanism, found in results["induction"].items()
    ]
    return markdown(["induction by", *levels, "under 90 %"], rows)


def mechanisms_text(results: dict[str, Any]) -> str:
    """How each mechanism was named, in a sentence."""
    parts = []
    for made, row in results["mechanisms"].items():
        named = sum(n for given, n in row.items() if given != "none")
        others = ", ".join(f"{n} {given}" for given, n in row.items() if given not in (made, "none"))
        parts.append(f"{row.get(made, 0)} of {named} by {made}" + (f" ({others})" if others else ""))
    return f"Of the induction heads found, the audit names the way they are fed rightly for {'; '.join(parts)}."


def wrong_markdown(results: dict[str, Any]) -> str:
    """All that was missed or falsely given with little noise."""
    if not results["wrong"]:
        return "With little noise nothing was missed or falsely given."
    rows = [list(row) for row in wrong_rows(results)]
    header = ["model", "name", "head", "what", "the audit said", "noise (accuracy kept)"]
    return "All that went wrong with little noise:\n\n" + markdown(header, rows)
