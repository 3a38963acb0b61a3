"""metrics.jsonl: one JSON object a line, one line a logged step."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from toy_models.atomic import OutputError, reason, write_bytes
from toy_models.errors import InputError

Record = dict[str, Any]


def read_metrics(path: Path) -> list[Record]:
    """The records of a metrics file; a last line that a killed writer left torn is passed over.

    Raises `InputError` if the file cannot be read, or if another line is no record.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {reason(error)}") from error
    records = []
    for number, line in enumerate(lines[:-1], start=1):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not (isinstance(record, dict) and isinstance(record.get("step"), int)):
            raise InputError(f"{path}: line {number} is not the record of a step: {line[:80]!r}")
        records.append(record)
    return records


class MetricsLog:
    """Appends records to a file, each by one write, so that a killed process leaves at most its last line torn.

    Records of steps after `keep_until`, which a resumed run makes again, are first taken out of the file.
    """

    def __init__(self, path: Path, keep_until: int):
        self.path = path
        self.records = [r for r in read_metrics(path) if r["step"] <= keep_until] if path.exists() else []
        write_bytes(path, b"".join(map(_line, self.records)))
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 (closed by `close`)

    def append(self, record: Record) -> None:
        """Writes one record; `OutputError` if it cannot be written."""
        line = _line(record)
        with self._output_errors():
            written = self._file.write(line)
        if written != len(line):
            raise OutputError(f"cannot write {self.path}: no space left on device")
        self.records.append(record)

    def sync(self) -> None:
        """Returns when all records are on the disk; `OutputError` if they cannot get there."""
        with self._output_errors():
            os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()

    @contextmanager
    def _output_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {reason(error)}") from error


def _line(record: Record) -> bytes:
    return json.dumps(record, allow_nan=False).encode() + b"\n"
