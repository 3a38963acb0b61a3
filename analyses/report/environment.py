"""How pages are made of templates: everything that is put in is escaped, a name that is missing is an error."""

import base64
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from analyses.report.blocks import Interval, Mark, Token, Value
from interp.labels import left_to_right, visible

LONGEST_TOKEN = 24


def make_environment() -> Environment:
    """Autoescaping; a name that is missing is an error."""
    environment = Environment(
        loader=PackageLoader("analyses", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"pieces": pieces, "data_uri": data_uri, "markup": Markup}
    return environment


def pieces(cell: Any) -> Markup:
    """A cell, or one of its pieces, as HTML."""
    if isinstance(cell, tuple):
        return Markup("").join(map(pieces, cell))
    if isinstance(cell, Value):
        return Markup('<data value="{}">{}</data>').format(repr(cell.value), cell.text)
    if isinstance(cell, Interval):
        return Markup('<span class="interval">[{}, {}]</span>').format(pieces(cell.low), pieces(cell.high))
    if isinstance(cell, Token):
        return Markup('<code class="token">{}</code>').format(left_to_right(visible(cell.text, LONGEST_TOKEN)))
    if isinstance(cell, Mark):
        return Markup('<span class="mark {}">{}</span>').format(cell.status, cell.text)
    return Markup("{}").format(cell)


def data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def visible_line(text: str) -> str:
    """A name on one line, with its spaces and without characters that cannot be seen."""
    return " ".join(visible(word) for word in text.split())
