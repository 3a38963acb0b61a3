"""The README's section "Claims, re-run": its table and its figure, written from the stored results."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from analyses.calibration.readme import filled, markdown
from analyses.claims.figures import figure_of
from analyses.claims.placebo import holds_too_often
from analyses.claims.stored import Stored
from analyses.claims.text import numbers
from analyses.claims.words import TOPIC_NAMES, counted, effect_words, placebo_cell, topic_of
from interp.errors import InputError
from interp.plots import png_bytes
from toy_models.atomic import write_bytes

README = Path(__file__).parents[2] / "README.md"
FIGURE = Path("notebooks/claims.png")
FEATURED = "residual-nets-converge-faster"
"""The claim whose figure stands in the README."""
HEADING = "## Claims, re-run"
BEGIN, END = "<!-- claims: written by interp claims report --readme -->", "<!-- end of claims -->"
BLOCK = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)


def block(results: Sequence[Stored]) -> str:
    """What stands between the two marks, marks included."""
    if not results:
        return "\n\n".join([BEGIN, "None was run yet.", END])
    words = [found.verdict.word for found in results]
    often = [found.name for found in results if holds_too_often(found["placebo"])]
    said = f"Of {len(results)} claims {counted(words)}."
    if often:
        said += f" With a placebo said to hold too often, so that their verdict proves little: {', '.join(often)}."
    return "\n\n".join([BEGIN, filled(said), table(results), END])


def table(results: Sequence[Stored]) -> str:
    """By topic: statement, verdict, the first comparison's effect, and the placebo."""
    rows: list[list[str]] = []
    for topic in TOPIC_NAMES:
        here = sorted((f for f in results if topic_of(f["numbers"]) == topic), key=lambda f: (f["numbers"], f.name))
        rows += [["", f"**{topic}**", " ", " ", " "]] * bool(here) + [row_of(found) for found in here]
    header = ["no.", "claim", "verdict", "first comparison: effect [95 % interval] (needed)", "placebo"]
    return markdown(header, [[cell or " " for cell in row] for row in rows])


def row_of(found: Stored) -> list[str]:
    """One claim's cells."""
    cell = placebo_cell(found["placebo"])
    marked = f"**{cell}**" if holds_too_often(found["placebo"]) else cell
    return [numbers(found["numbers"]), escaped(found["statement"]), found.verdict.word, escaped(first(found)), marked]


def first(found: Stored) -> str:
    """The first comparison, and of several how many hold."""
    parts = found.parts
    if not parts:
        return ""
    held = sum(part.outcome == "holds" for part in parts)
    return effect_words(parts[0]) + (f"; {held} of {len(parts)} comparisons hold" if len(parts) > 1 else "")


def escaped(text: str) -> str:
    """As a cell of a Markdown table."""
    return re.sub(r"([|*_<])", r"\\\1", text)


def write_readme(results: Mapping[str, Stored], readme: Path) -> list[Path]:
    """Writes table and figure; `InputError` where the README has no place for them or the figure has no result."""
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    if len(BLOCK.findall(text)) != 1:
        raise InputError(f"{readme} needs one place for the table, between {BEGIN} and {END}")
    if FEATURED not in results:
        raise InputError(f"the README shows the figure of {FEATURED}, which was not run: interp claims run {FEATURED}")
    figure, _ = figure_of(results[FEATURED])
    picture = readme.parent / FIGURE
    write_bytes(picture, png_bytes(figure, 110))
    write_bytes(readme, BLOCK.sub(lambda _: block(list(results.values())), text).encode())
    return [readme, picture]
