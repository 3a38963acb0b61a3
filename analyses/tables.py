"""Small tables and numbers as plain text: aligned in a terminal, no colour, nothing that a token could disturb."""

import math
import textwrap
import unicodedata
from collections.abc import Sequence
from itertools import zip_longest

from interp.labels import visible

WIDTH = 98
GAP = "  "


def table(header: Sequence[str], rows: Sequence[Sequence[str]], right: str = "") -> str:
    """Columns of equal width under a header and a rule; spaces at line ends are left out.

    `right` names the columns that are set flush right: one letter each, "r", and "l" (or nothing) for the others.
    """
    lines = [list(header), *map(list, rows)]
    widths = [max(display_width(line[i]) for line in lines) for i in range(len(header))]
    flush = right.ljust(len(header), "l")
    text = [GAP.join(pad(cell, widths[i], flush[i] == "r") for i, cell in enumerate(line)).rstrip() for line in lines]
    rule = GAP.join("─" * width for width in widths)
    return "\n".join([text[0], rule, *text[1:]])


def beside(left: str, right: str, gap: int = 4) -> str:
    """Two blocks of lines side by side, or, where they are too wide for that, one below the other."""
    lines, others = left.split("\n"), right.split("\n")
    width = max(map(display_width, lines)) + gap
    if width + max(map(display_width, others)) > WIDTH:
        return f"{left}\n\n{right}"
    pairs = zip_longest(lines, others, fillvalue="")
    return "\n".join((pad(line, width) + other).rstrip() for line, other in pairs)


def pad(cell: str, width: int, right: bool = False) -> str:
    """`cell` with spaces up to `width` columns of a terminal."""
    space = " " * (width - display_width(cell))
    return space + cell if right else cell + space


def display_width(text: str) -> int:
    """Columns that a terminal gives a text: two for wide characters, none for combining marks."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def token(label: str, limit: int = 16) -> str:
    """A token's label with every character of it visible, none able to steer the terminal."""
    return visible(label, limit)


def number(value: float | None, digits: int = 3) -> str:
    """A number with so many decimals, "n/a" where there is none; never "-0.000"."""
    if value is None or math.isnan(value):
        return "n/a"
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def interval(low: float | None, high: float | None, digits: int = 3) -> str:
    """[low, high]."""
    return f"[{number(low, digits)}, {number(high, digits)}]"


def paragraph(text: str, indent: int = 0) -> str:
    """A text in lines of at most 98 columns."""
    space = " " * indent
    return textwrap.fill(text, WIDTH, initial_indent=space, subsequent_indent=space, break_on_hyphens=False)
