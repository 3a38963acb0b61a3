"""Results on their way out: files that are whole or absent, strict JSON, and one place that prints."""

import contextlib
import dataclasses
import json
import math
import os
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analyses import exits
from analyses.arguments import Common
from analyses.parsing import interp_version
from interp.labels import legible
from interp.names import Head
from toy_models.atomic import OutputError, reason

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LIST_OF_NUMBERS = re.compile(r"\[\n[-+0-9.eE,\snul]+\]")


def deliver(
    arguments: Common,
    folder: Path,
    values: Mapping[str, Any],
    text: str,
    files: Mapping[str, bytes | str] | None = None,
) -> int:
    """Writes a command's results into `folder` and prints them; the exit code of success.

    `COMMAND.json` holds `values` after the command's name, the version and the seed; `files` are written beside
    it. Standard output gets `text` and the files' paths, or, with --json, that JSON and nothing else.
    Raises `OutputError` if something cannot be written; then none of the files is new.
    """
    name = f"{arguments.command()}.json"
    names = [*(files or {}), name]
    document = to_document(arguments, {**values, "files": names})
    write_files(folder, {**(files or {}), name: document})
    show(arguments, document, text)
    print("\n".join(f"wrote {folder / name}" for name in names), file=sys.stderr if arguments.json else sys.stdout)
    return exits.OK


def to_document(arguments: Common, values: Mapping[str, Any]) -> str:
    """`values` as strict JSON, after the command's name, the version and the seed."""
    return strict_json({"command": arguments.command(), "interp": interp_version(), "seed": arguments.seed, **values})


def show(arguments: Common, document: str, text: str) -> None:
    """Prints the text and an empty line, or, with --json, the document alone."""
    sys.stdout.write(document if arguments.json else f"{text}\n\n")


def say(text: str) -> None:
    """What is going on, for whoever waits; never part of the result."""
    print(f"interp: {text}", file=sys.stderr, flush=True)


def write_files(folder: Path, files: Mapping[str, bytes | str]) -> None:
    """Writes or replaces files in a folder, which is made if it is missing.

    All are first written under hidden names, then renamed: on a full disk, without permission or after Ctrl-C, no
    file is half-written, and none is replaced unless all of them could be written. Raises `OutputError`.
    """
    made = make_folders(folder)
    partials = {folder / name: folder / f".{name}.partial" for name in files}
    writing = folder
    try:
        for writing, data in zip(partials, files.values(), strict=True):
            write_synced(partials[writing], data if isinstance(data, bytes) else data.encode())
        for writing, partial in partials.items():
            os.replace(partial, writing)
    except BaseException as error:
        for partial in partials.values():
            partial.unlink(missing_ok=True)
        for each in made:
            with contextlib.suppress(OSError):
                each.rmdir()
        if isinstance(error, OSError):
            raise OutputError(f"cannot write {writing}: {reason(error)}") from error
        raise


def check_folder(folder: Path) -> Path:
    """The same folder; `OutputError` if it is plain before any work that nothing can be written there."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    problem = None
    if not there.is_dir():
        problem = f"{there} is a file"
    elif not os.access(there, os.W_OK | os.X_OK):
        problem = f"no permission to write in {there}"
    if problem:
        raise OutputError(f"cannot write into {folder}: {problem}; choose another folder with --out")
    return folder


def make_folders(folder: Path) -> list[Path]:
    """Makes a folder and its parents; those that were missing, innermost first. `OutputError` if it cannot be."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {reason(error)}") from error
    return missing


def write_synced(path: Path, data: bytes) -> None:
    """Writes a file and returns when it is on the disk."""
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def strict_json(values: Any) -> str:
    """JSON in ASCII that every parser reads: NaN and infinities become null."""
    text = json.dumps(plain(values), indent=2, allow_nan=False)
    return LIST_OF_NUMBERS.sub(lambda match: re.sub(r"\n *", " ", match[0]), text) + "\n"


def plain(value: Any) -> Any:
    """A value as JSON can hold it: tensors and dataclasses as lists and objects, heads as "L1H3", paths as text.

    Numbers that are not finite become None, complex ones [real, imaginary].
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, complex):
        return [plain(value.real), plain(value.imag)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, Head | Path):
        return str(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(each) for each in value]
    raise TypeError(f"{type(value).__name__} has no form in JSON: {value!r:.80}")


def shell_word(text: str) -> str:
    r"""A word as it can be typed into a shell: quoted, and `$'a\u202eb'` where a character of it cannot be seen."""
    if legible(text) == text:
        return shlex.quote(text)
    escaped = "".join(
        c if legible(c) == c and c not in "\\'" else f"\\U{ord(c):08x}" if ord(c) > 127 else f"\\x{ord(c):02x}"
        for c in text
    )
    return f"$'{escaped}'"


def png(figure: "Figure") -> bytes:
    """A figure as a PNG file."""
    from interp.plots import png_bytes

    return png_bytes(figure)
