"""The page's HTML from its blocks, by a template that escapes everything it is given."""

import base64
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from analyses import reliability
from analyses.audit.result import versions
from analyses.evidence import CONFIDENCE
from analyses.report import words
from analyses.report.blocks import Interactive, Interval, Mark, Section, Token, Value
from analyses.report.context import Context
from analyses.report.verdicts import rows_of
from interp.documents import STYLE, Part, page
from interp.labels import left_to_right, visible

LONGEST_TOKEN = 24


def render(context: Context, sections: tuple[Section, ...]) -> str:
    """The whole document."""
    environment = make_environment()
    report = context.report
    body = environment.get_template("report.html.j2").render(
        conclusion=words.conclusion(report),
        doubts=report.doubts,
        others=words.other_findings(report),
        facts=facts(context),
        rows=rows_of(context),
        confidence={word: reliability.meaning(word, bool(report.criteria.overridden)) for word in CONFIDENCE},
        meanings=words.MEANINGS,
        sections=sections,
        command=context.command,
    )
    style = STYLE + environment.get_template("report.css").render()
    needs_library = any(isinstance(block, Interactive) for section in sections for block in section.blocks)
    return page(f"Audit of {visible_line(context.subject.name)}", [Part(body, needs_library)], style=style)


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


def facts(context: Context) -> list[tuple[str, str]]:
    """What identifies the model and the audit."""
    subject, report = context.subject, context.report
    trained = "" if subject.step is None else f"{subject.step:,} steps"
    if subject.task is not None:
        trained += f"{' ' if trained else ''}on {subject.task.kind}"
    seeds = [f"audit {report.seed}"]
    if subject.info is not None and "train" in subject.info["config"]:
        seeds.insert(0, f"training {subject.info['config']['train'].get('seed')}")
    found = {
        "model": words.model_in_words(subject.config),
        "trained": trained or "nothing is written down about its training",
        "weights": f"{visible_line(str(subject.checkpoint))} (SHA-256 {subject.model_hash})",
        "seeds": ", ".join(seeds),
        "versions": ", ".join(f"{name} {value}" for name, value in versions().items()),
    }
    return list(found.items())
