"""A page of sections about any model: what was found in a line, what identifies the model, section by section."""

from collections.abc import Mapping, Sequence

from analyses.report.blocks import Interactive, Section
from analyses.report.environment import make_environment, visible_line
from interp.documents import STYLE, Part, page


def page_of(
    title: str,
    conclusion: str,
    facts: Mapping[str, str],
    sections: Sequence[Section],
    command: str,
    notes: Sequence[str] = (),
) -> str:
    """One HTML document that asks nothing of the network; `notes` are what must not be overlooked."""
    environment = make_environment()
    body = environment.get_template("page.html.j2").render(
        conclusion=conclusion, notes=notes, facts=list(facts.items()), sections=sections, command=command
    )
    needs_library = any(isinstance(block, Interactive) for section in sections for block in section.blocks)
    style = STYLE + environment.get_template("report.css").render()
    return page(visible_line(title), [Part(body, needs_library)], style=style)
