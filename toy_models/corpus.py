"""Files of text: which ones, in which order, and which are held out."""

import hashlib
import os
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from toy_models.errors import InputError
from toy_models.task_config import TextConfig

SKIPPED_FOLDERS = ("site-packages", "dist-packages", "test", "tests", "idle_test", "encodings", "pydoc_data")
"""Folders of the standard library that are left out: installed packages, tests, tables of characters, help texts."""


@dataclass(frozen=True)
class TextFile:
    """One file: where it is, its name relative to what the user named, and its text."""

    path: Path
    name: str
    text: str


@dataclass(frozen=True)
class Corpus:
    """Training and held-out files, each sorted by name."""

    train: tuple[TextFile, ...]
    held_out: tuple[TextFile, ...]


def read_corpus(config: TextConfig) -> Corpus:
    """The files a config names, or the standard library's, split by file.

    A file is held out if a hash of its relative name falls into the share `held_out`, so that the split does
    not change when other files come or go; if that holds out none of several, the one with the lowest hash.
    With `max_bytes`, files are taken in the order of another hash until so many bytes are reached. Raises
    `InputError`, naming the file or folder, if there is nothing to read, a file is no text, or one side of
    the split is empty.
    """
    found = [found for path in config.paths for found in _find(Path(path), config.suffixes)]
    if not config.paths:
        found = _standard_library()
    unique = {path.resolve(): (path, name) for path, name in found}
    files = [_read(path, name) for path, name in _capped(list(unique.values()), config.max_bytes)]
    files = sorted((file for file in files if file.text), key=lambda file: (file.name, str(file.path)))
    if not files:
        raise InputError(f"there is no text in {_named(config)}: every file is empty")
    held = _held_out(files, config.held_out)
    train = tuple(file for file in files if file not in held)
    if config.held_out and not (held and train):
        raise InputError(
            f"{_named(config)} holds one file with text, {files[0].path}, so none is left for held-out text: "
            "name more files, or set held_out to 0"
        )
    return Corpus(train, tuple(held))


def _named(config: TextConfig) -> str:
    return ", ".join(config.paths) or "the standard library"


def _find(path: Path, suffixes: tuple[str, ...]) -> list[tuple[Path, str]]:
    """The file itself, or the files below a folder that are not hidden; each with its name relative to it."""
    if path.is_file():
        return [(path, path.name)]
    if not path.is_dir():
        raise InputError(f"there is no file or folder {path}")
    found = _below(path, suffixes, lambda folder: folder.startswith("."))
    if not found:
        raise InputError(f"the folder {path} holds no file that ends in {', '.join(suffixes)}")
    return found


def _standard_library() -> list[tuple[Path, str]]:
    folder = Path(sysconfig.get_path("stdlib"))
    found = _below(folder, (".py",), lambda name: name in SKIPPED_FOLDERS)
    if not found:
        raise InputError(f"this interpreter has no source files in {folder}: name files or folders to read")
    return found


def _below(folder: Path, suffixes: tuple[str, ...], skipped: Callable[[str], bool]) -> list[tuple[Path, str]]:
    """Files below a folder, without going into skipped folders."""
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not skipped(name)]
        paths = (Path(parent, name) for name in names if name.endswith(suffixes) and not name.startswith("."))
        found += [(path, path.relative_to(folder).as_posix()) for path in paths if path.is_file()]
    return found


def _capped(found: list[tuple[Path, str]], max_bytes: int | None) -> list[tuple[Path, str]]:
    """Files in the order of a hash of their names, up to and with the one that reaches `max_bytes`."""
    taken, total = [], 0
    for path, name in sorted(found, key=lambda item: (_share(item[1], "order"), str(item[0]))):
        if max_bytes is not None and total >= max_bytes:
            break
        taken.append((path, name))
        total += path.stat().st_size
    return taken


def _read(path: Path, name: str) -> TextFile:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    if b"\0" in data:
        raise InputError(f"{path} is binary, not text: it holds a zero byte at {data.index(0)}")
    try:
        return TextFile(path, name, data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 text: byte 0x{data[error.start]:02x} at {error.start}; convert it, or leave it out"
        ) from error


def _held_out(files: list[TextFile], share: float) -> list[TextFile]:
    by_hash = sorted(files, key=lambda file: (_share(file.name, "held out"), str(file.path)))
    if share == 0 or len(files) == 1:
        return []
    held = [file for file in by_hash if _share(file.name, "held out") < share]
    held = held[: len(files) - 1] or by_hash[:1]
    return sorted(held, key=files.index)


def _share(name: str, purpose: str) -> float:
    """A number in [0, 1) that depends only on the name and the purpose."""
    digest = hashlib.sha256(f"{purpose}\0{name}".encode("utf-8", errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
