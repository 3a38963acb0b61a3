"""Makes reports of small models, and reads their pages."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from analyses.audit import AuditReport, audit
from analyses.loading import Subject, load_subject
from analyses.report import report_files
from toy_models import handmade
from toy_models.checkpoint import save_checkpoint
from toy_models.vocabulary import Vocabulary


@dataclass
class Element:
    """What a reader sees of one element, in order of appearance."""

    tag: str
    attributes: dict[str, str | None]
    text: str = ""


class Elements(HTMLParser):
    """Every element of a page, each with all the text in it."""

    def __init__(self, html: str):
        super().__init__()
        self.found: list[Element] = []
        self.open: list[Element] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs))
        self.found.append(element)
        if tag not in ("img", "meta", "br"):
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1].tag == tag, f"<{self.open[-1].tag}> is closed by </{tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.text += data


@dataclass(frozen=True, eq=False)
class Made:
    """A report, what it is of, and its files."""

    report: AuditReport
    subject: Subject
    files: dict[str, bytes | str] = field(repr=False)

    @property
    def html(self) -> str:
        return str(self.files["report.html"])

    @cached_property
    def json(self) -> Any:
        return json.loads(self.files["report.json"], parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))

    @property
    def pictures(self) -> dict[str, bytes]:
        return {name: data for name, data in self.files.items() if isinstance(data, bytes)}

    @cached_property
    def elements(self) -> list[Element]:
        return Elements(self.html).found

    def all(self, tag: str, css_class: str = "") -> list[Element]:
        """Elements of a tag, in order, with a class if one is named."""
        named = [each for each in self.elements if each.tag == tag]
        return [each for each in named if css_class in (each.attributes.get("class") or "").split() or not css_class]

    def section(self, name: str) -> str:
        """All text of a section."""
        return next(each.text for each in self.all("section") if each.attributes["id"] == name)

    @property
    def conclusion(self) -> str:
        return self.all("p", "conclusion")[0].text


def make_report(folder: Path, **options: Any) -> Made:
    """The report of the model in a folder."""
    subject = load_subject(folder)
    report = audit(subject, **options)
    return Made(report, subject, report_files(report, subject))


def save_handmade(folder: Path, name: str, labels: tuple[str, ...] | None = None, **options: Any) -> Path:
    """A handmade model as a checkpoint, with its labels or others."""
    made = handmade.make(name, **options)
    vocabulary = Vocabulary(labels or made.labels, 0, "symbols")
    save_checkpoint(folder, made.model, {"vocabulary": vocabulary.to_dict()})
    return folder
