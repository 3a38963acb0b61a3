"""Folders that hold a model: their files, how they are found, read and written, whatever the model is.

A checkpoint is a folder with config.json and model.safetensors; one that training can go on from also holds
state.safetensors and state.json. A run folder holds the final model at its top, and its checkpoints in
checkpoints/step-00000000. Nothing is pickled.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from toy_models import atomic
from toy_models.errors import InputError
from toy_models.weights_file import read_tensors, tensor_bytes

CONFIG, WEIGHTS, STATE_TENSORS, STATE_VALUES = "config.json", "model.safetensors", "state.safetensors", "state.json"
RUN, CHECKPOINTS = "run.json", "checkpoints"
TRANSFORMER_FORMAT, SHELF_FORMAT = "interp-transformer", "interp-shelf"
FORMAT_VERSIONS = {TRANSFORMER_FORMAT: 1, SHELF_FORMAT: 1}
"""What `format` in config.json says, and the newest `format_version` of each."""


class CheckpointError(InputError):
    """A checkpoint cannot be read; the message names the file and what is wrong with it."""


def write_checkpoint(folder: Path, files: dict[str, bytes], state: dict[str, Any] | None = None) -> None:
    """Writes a checkpoint folder that holds these files of a model; else as `save_checkpoint`."""
    if state is not None:
        files = files | {
            STATE_TENSORS: tensor_bytes({k: v for k, v in state.items() if isinstance(v, Tensor)}),
            STATE_VALUES: atomic.json_bytes({k: v for k, v in state.items() if not isinstance(v, Tensor)}),
        }
    if folder.is_dir():
        others = sorted({p.name for p in folder.iterdir()} - {CONFIG, WEIGHTS, STATE_TENSORS, STATE_VALUES})
        if others:
            raise InputError(f"{folder} also holds {others[0]}, which is no part of a checkpoint; use another folder")
    atomic.write_folder(folder, files)


def load_state(folder: str | Path) -> dict[str, Any]:
    """What `save_checkpoint` got as `state`; `CheckpointError` if it is missing or damaged."""
    folder = Path(folder)
    with named(folder / STATE_TENSORS):
        tensors = read_tensors(read_file(folder / STATE_TENSORS))
    with named(folder / STATE_VALUES):
        return {**tensors, **read_object(folder / STATE_VALUES)}


def find_checkpoint(path: Path) -> Path:
    """The checkpoint folder that `path`, a checkpoint or run folder, stands for; `CheckpointError` if there is none."""
    path = atomic.settled(path)
    if not path.exists():
        raise CheckpointError(f"{path} does not exist; give a run folder or a checkpoint folder")
    if not path.is_dir():
        raise CheckpointError(f"{path} is a file; give the folder that holds {CONFIG} and {WEIGHTS}")
    if (path / CONFIG).exists():
        return path
    newest = list_checkpoints(path)[-1:]
    if newest:
        return newest[0]
    if (path / RUN).exists():
        raise CheckpointError(f"{path} is a run that has not written a checkpoint yet")
    if not any(path.iterdir()):
        raise CheckpointError(f"{path} is an empty folder; give a run folder or a checkpoint folder")
    raise CheckpointError(f"{path} is neither a run nor a checkpoint: it holds no {CONFIG}")


def list_checkpoints(run_folder: Path) -> list[Path]:
    """Checkpoint folders of a run, by step."""
    return sorted(p for p in (run_folder / CHECKPOINTS).glob("step-*") if p.is_dir())


def checkpoint_folder(run_folder: Path, step: int) -> Path:
    """Where a run keeps its checkpoint of a step."""
    return run_folder / CHECKPOINTS / f"step-{step:08d}"


def read_header(path: Path, wanted: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a config.json of the `wanted` format says, format and version taken out, and its metadata.

    Raises `InputError` for another format, saying what the folder holds where it is ours, and for a newer version.
    """
    values = read_object(path)
    found = values.pop("format", None)
    if found == SHELF_FORMAT != wanted:
        raise InputError(f"holds a model of images or vectors ({values.get('kind')}); a transformer is needed here")
    if found == TRANSFORMER_FORMAT != wanted:
        raise InputError("holds a transformer; a model of images or vectors is needed here")
    if found != wanted:
        raise InputError(f'not a model of ours: "format" is not "{wanted}"')
    version, newest = values.pop("format_version", None), FORMAT_VERSIONS[wanted]
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise InputError(f"format_version must be a whole number from 1, got {version!r}")
    if version > newest:
        raise InputError(f"format_version {version} is newer than this program knows ({newest}); update interp")
    metadata = values.pop("metadata", {})
    if not isinstance(metadata, dict):
        raise InputError(f"metadata must be a JSON object, got {metadata!r}")
    return values, metadata


def read_file(path: Path) -> bytes:
    """A file's bytes; `InputError` saying why where it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InputError("the file is missing") from error
    except OSError as error:
        raise InputError(f"cannot be read: {atomic.reason(error)}") from error


def read_object(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object; `InputError` otherwise."""
    try:
        values = json.loads(read_file(path))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"not a JSON file ({error})") from error
    if not isinstance(values, dict):
        raise InputError(f"must hold a JSON object, got {type(values).__name__}")
    return values


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Inside, an `InputError` becomes a `CheckpointError` that names the file."""
    try:
        yield
    except InputError as error:
        raise CheckpointError(f"{path}: {error}") from error
