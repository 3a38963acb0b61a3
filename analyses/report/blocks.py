"""What a report is made of: sections of text, tables, figures and interactive plots, without any HTML yet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from interp.pages import Part


@dataclass(frozen=True)
class Value:
    """A number as the page shows it: `value` in full for machines, `text` with 2 to 3 digits for readers."""

    value: float
    text: str


@dataclass(frozen=True)
class Interval:
    """Two ends of an interval."""

    low: Value
    high: Value


@dataclass(frozen=True)
class Token:
    """A token's label, every character of it visible."""

    text: str


@dataclass(frozen=True)
class Mark:
    """A word with a colour: that of evidence `for`, `against`, `undecided` or `missing`."""

    text: str
    status: str


Piece = str | Value | Interval | Token | Mark
Cell = Piece | tuple[Piece, ...]
"""Several pieces stand one after the other."""


@dataclass(frozen=True)
class Text:
    """A paragraph; `quiet` ones are small print."""

    pieces: tuple[Piece, ...]
    quiet: bool = False
    kind: str = field(default="text", init=False)


@dataclass(frozen=True)
class Caution:
    """A paragraph that must not be overlooked."""

    text: str
    kind: str = field(default="caution", init=False)


@dataclass(frozen=True)
class Table:
    """Rows under a header; `numeric` columns are set flush right. One with a `summary` is folded away behind it."""

    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    numeric: tuple[int, ...] = ()
    summary: str = ""
    kind: str = field(default="table", init=False)


@dataclass(frozen=True)
class Picture:
    """A figure as a PNG, written to the file of this name and shown in the page; `description` is read out.

    One with a `summary` is folded away behind it.
    """

    file: str
    png: bytes
    description: str
    summary: str = ""
    kind: str = field(default="picture", init=False)


@dataclass(frozen=True)
class Gallery:
    """Figures side by side where there is room."""

    pictures: tuple[Picture, ...]
    kind: str = field(default="gallery", init=False)


@dataclass(frozen=True)
class Interactive:
    """A plot that answers the mouse."""

    part: Part
    kind: str = field(default="interactive", init=False)


@dataclass(frozen=True)
class Glossary:
    """Words and what they mean, under a heading."""

    title: str
    entries: tuple[tuple[str, str], ...]
    kind: str = field(default="glossary", init=False)


Block = Text | Caution | Table | Picture | Gallery | Interactive | Glossary


@dataclass(frozen=True)
class Section:
    """One question: what is seen, what would count as evidence, and the blocks that show it.

    `values` are the numbers that were measured for this section alone and go into report.json.
    """

    name: str
    title: str
    sees: str
    counts: str
    blocks: tuple[Block, ...]
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """All figures, in order."""
        found: list[Picture] = []
        for block in self.blocks:
            if isinstance(block, Picture):
                found.append(block)
            elif isinstance(block, Gallery):
                found.extend(block.pictures)
        return tuple(found)


def sentence(*pieces: Piece, quiet: bool = False) -> Text:
    """A paragraph of these pieces."""
    return Text(pieces, quiet)


def listed(words: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
