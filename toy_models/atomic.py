"""Writing that is whole or absent: a process killed, or a disk filled, at any moment leaves no half-written file.

Everything is written under a hidden name beside its target, flushed to the disk, and renamed. A rename replaces a
file in one step, but not a folder that holds something: there the old folder first steps aside to
`.NAME.previous`, the new one takes its name, and the old one is deleted. Between these two renames the name is
missing; `settled` then finds the old folder, so at every moment one of the two can be read.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from toy_models.errors import InputError


class OutputError(InputError):
    """Something could not be written (disk full, no permission, a file where a folder is needed).

    What stood under the target's name before is still there, and nothing half-written.
    """


def write_bytes(path: Path, data: bytes) -> None:
    """Writes or replaces one file; `OutputError` if it cannot be written."""
    partial = path.with_name(f".{path.name}.partial")
    with _output_errors(path):
        try:
            _write_synced(partial, data)
            os.replace(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def write_json(path: Path, values: Any) -> None:
    """Writes or replaces one JSON file; `OutputError` if it cannot be written, `InputError` if it is no JSON."""
    write_bytes(path, json_bytes(values))


def json_bytes(values: Any) -> bytes:
    """Indented JSON in UTF-8; `InputError` if something in `values` has no JSON form (NaN and inf have none)."""
    try:
        return (json.dumps(values, indent=2, allow_nan=False) + "\n").encode()
    except (TypeError, ValueError) as error:
        raise InputError(f"this cannot be written as JSON: {error}") from error


def write_folder(target: Path, files: dict[str, bytes]) -> None:
    """Writes or replaces a folder that holds exactly these files; `OutputError` if it cannot be written."""
    with _output_errors(target):
        target = target.resolve()
        partial, previous = _partial(target), _previous(target)
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            for name, data in files.items():
                _write_synced(partial / name, data)
            _sync_folder(partial)
            if target.exists():
                shutil.rmtree(previous, ignore_errors=True)
                os.rename(target, previous)
            os.rename(partial, target)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            if previous.exists() and not target.exists():
                os.rename(previous, target)
            raise
        _sync_folder(target.parent)
        shutil.rmtree(previous, ignore_errors=True)


def settled(folder: Path) -> Path:
    """Where the newest whole content of `folder` is, also when its writer was killed between the two renames."""
    resolved = folder.resolve()
    return folder if resolved.exists() or not _previous(resolved).exists() else _previous(resolved)


def remove_partial(parent: Path) -> None:
    """Deletes what killed writers left half-written in `parent`."""
    for path in parent.glob(".*.partial"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Makes a folder and its parents; `OutputError` if that cannot be, or if something else has the name."""
    with _output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)


def reason(error: OSError) -> str:
    """The system's words for what went wrong, without the path."""
    return error.strerror or str(error)


def _partial(target: Path) -> Path:
    return target.with_name(f".{target.name}.partial")


def _previous(target: Path) -> Path:
    return target.with_name(f".{target.name}.previous")


def _write_synced(path: Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Makes renames in the folder survive a power cut, where the system can."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _output_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {target}: {reason(error)}") from error
