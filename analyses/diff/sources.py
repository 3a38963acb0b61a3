"""What can be compared: a run or checkpoint folder, which is audited now, or the report.json of an earlier audit."""

import json
from pathlib import Path
from typing import Any

from analyses.audit import AuditReport, audit
from analyses.audit.result import SCHEMA_VERSION
from analyses.criteria import Criteria
from analyses.diff.audited import Audited, Document
from analyses.loading import load_subject
from analyses.output import plain
from interp.errors import InputError

Source = AuditReport | str | Path


def audited(
    source: Source,
    seed: int = 0,
    criteria: Criteria | None = None,
    skip: tuple[str, ...] = (),
    device: str = "cpu",
    name: str = "",
) -> Audited:
    """An audit to compare. Raises `InputError` for a file that is no report.json of this version, and as `audit`."""
    if isinstance(source, AuditReport):
        return Audited(name or str(source.subject.get("path") or "the model"), plain(source.to_dict()))
    path = Path(source)
    if path.is_file():
        return Audited(name or str(path), read_report(path))
    report = audit(load_subject(path, device), seed=seed, criteria=criteria, skip=skip)
    return Audited(name or str(path), plain(report.to_dict()))


def read_report(path: Path) -> Document:
    """report.json of an audit; `InputError` in one line for any other file."""
    wanted = "expected a run or checkpoint folder, or the report.json of interp audit"
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no JSON file ({error}); {wanted}") from error
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema != "interp-audit":
        said = f"its schema is {schema!r}" if isinstance(schema, str) else "it names no schema"
        raise InputError(f"{path} is not the report of an audit: {said}; {wanted}")
    if document.get("schema_version") != SCHEMA_VERSION:
        raise InputError(
            f"{path} has version {document.get('schema_version')!r} of the report, this is version {SCHEMA_VERSION}: "
            "audit the model again"
        )
    return checked(path, document)


def checked(path: Path, document: Document) -> Document:
    """The same document, if all that a diff reads of it can be read."""
    try:
        found, measured = Audited(str(path), document), document["measurements"]
        _ = found.heads, found.roles, found.edges, found.costs, found.profile if measured["heads"] else None
        _ = document["subject"].get("config"), document["criteria"]["values"], document["skipped"], document["seed"]
    except (KeyError, TypeError, AttributeError, ValueError, InputError) as error:
        raise InputError(f"{path} is a damaged report ({error!r}): audit the model again") from error
    return document
